//! Detectors: ledger entries in, findings out; pure.
