#ifndef BASE_FIRST_PROCESS_H
#define BASE_FIRST_PROCESS_H

/* Process 1 of a PID namespace inherits orphans and must reap them: without `--init`, a container's program is process 1. Then
 * this call forks. The child returns and is the program. The parent stays process 1: it reaps, passes every signal on to the
 * child, and exits as the child did (128 + N after signal N). Anywhere else the call does nothing. To be called before there are
 * threads. */
void first_process_split(void);

#endif
