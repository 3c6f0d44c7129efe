//! Actor, purpose, relationship, consent and time to a permit or a refusal with reasons; pure.
