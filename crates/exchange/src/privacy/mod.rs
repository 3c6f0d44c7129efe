//! The privacy and security office: watching, containing, investigating,
//! notifying.

mod emergencies;
mod forgetting;
mod grants;
mod incidents;
mod keys;
mod notices;
mod office;
mod reviews;
mod scope;
mod transparency;
mod watchman;

pub use emergencies::EmergencyItem;
pub use forgetting::Forgetting;
pub use incidents::FindingView;
pub use keys::KeysDue;
pub(crate) use office::Office;
pub use reviews::ReviewItem;
pub use scope::LedgerState;
