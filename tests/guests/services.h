/* What a test guest does for others while its memory is worked on, see services.c. */
#ifndef SERVICES_H
#define SERVICES_H

/* Begin what the kernel's command line asks for; each service is a process of its own. */
void start_services(void);

#endif
