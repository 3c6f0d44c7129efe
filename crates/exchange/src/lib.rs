//! The one path through Holdfast: admit, match, open, search, disclose, respond.
