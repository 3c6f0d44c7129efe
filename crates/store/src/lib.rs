//! The sealed store: versions, indexes, transactions, inbox and outbox.
