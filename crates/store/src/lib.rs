//! What remembers: storage engines behind the traits that services declare.
