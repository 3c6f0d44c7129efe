//! Incidents, scope, jurisdictions, deadlines, notices and letters; pure.
