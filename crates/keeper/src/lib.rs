//! Keys, sealing, budgets and key releases; the only user of AEAD and the only writer of the ledger.
