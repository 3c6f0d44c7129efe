//! Who may come in: organizations, accounts, sessions.

mod accounts;
mod organizations;
mod sessions;

pub(crate) use accounts::Account;
pub use accounts::{AccountView, Enrollment, NewAccount};
pub use organizations::OrganizationView;
pub use organizations::{Counts, NewOrganization};
pub(crate) use organizations::{Organization, OrganizationRow};
pub(crate) use sessions::Sessions;
pub use sessions::SignedIn;
