//! Message delivery: the queue, waking the reader, acknowledgement.
