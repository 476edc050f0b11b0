#ifndef WG_PATH_RCU_H
#define WG_PATH_RCU_H

/* Grace periods (liburcu's QSBR flavour), with what ThreadSanitizer must be told about them, since
 * the library itself is not instrumented. A registered thread may use what it found in a shared
 * table until its next quiesce or offline; a writer unpublishes, waits, and frees. */

/* Called by the thread itself; it starts online. */
void rcu_reader_register(void);
void rcu_reader_unregister(void);

/* Around everything that may block: an offline thread holds nobody up and may use nothing shared.
 */
void rcu_reader_offline(void);
void rcu_reader_online(void);

/* Says that this thread holds nothing from before; cheap, once a batch. */
void rcu_reader_quiesce(void);

/* Returns when every reader has quiesced or was offline since the call. Any thread may call it. */
void rcu_wait(void);

#endif
