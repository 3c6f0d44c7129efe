//! From rows to HTML. Pages hold no script and no style of their own; one style
//! sheet has it all, so that the content security policy can forbid the rest.

mod accounts;
mod chart;
mod frame;
mod incident;
mod lists;
mod look_up;
mod message;
mod messages;
mod office;
mod parts;
mod results;
mod sign_in;
mod spark;

pub(crate) use accounts::{Handed, Staff, accounts, handed_over};
pub(crate) use chart::chart;
pub(crate) use frame::{Place, STYLE, Viewer, style_path};
pub(crate) use incident::{IncidentView, incident};
pub(crate) use lists::{inbox, looks, reviews};
pub(crate) use look_up::{Asked, Finding, look_up};
pub(crate) use message::message;
pub(crate) use messages::{Kept, kept, shown};
pub(crate) use office::{Desk, office};
pub(crate) use sign_in::sign_in;
