#ifndef WG_PATH_RCU_H
#define WG_PATH_RCU_H

/* Grace periods (liburcu's QSBR flavour), with annotations for ThreadSanitizer, since the library
 * is not instrumented. A registered thread may use what it found in a shared table until its next
 * quiesce or offline. A writer unpublishes, waits, and frees. */

/* Called by the thread itself; it starts online. */
void rcu_reader_register(void);
void rcu_reader_unregister(void);

/* Called around everything that may block. An offline thread holds up no writer and may use nothing
 * shared. */
void rcu_reader_offline(void);
void rcu_reader_online(void);

/* Declares that this thread holds no earlier reference. Cheap; call it once a batch. */
void rcu_reader_quiesce(void);

/* Returns when every reader has quiesced or was offline since the call. Any thread may call it. */
void rcu_wait(void);

#endif
