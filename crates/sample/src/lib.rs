//! Believable synthetic communities, patients and message streams from a seed; pure.
