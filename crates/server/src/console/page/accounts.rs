//! Organizations and accounts.

use holdfast_exchange::{AccountView, Module, OrganizationView, Role};
use maud::{Markup, html};

use super::frame::{Place, Viewer, framed};
use super::parts::tag;

/// Who is on the exchange.
pub(crate) struct Staff {
    /// Organizations, by name.
    pub organizations: Vec<OrganizationView>,
    /// Accounts, by name.
    pub accounts: Vec<AccountView>,
}

/// What is handed over, once.
pub(crate) enum Handed {
    /// A person's secrets.
    Secrets {
        /// The password.
        password: String,
        /// The secret that codes are made from.
        totp_secret: String,
        /// The same as an address that authenticator apps read.
        totp_url: String,
    },
    /// A system's certificate, PEM.
    Certificate(String),
}

/// The page; `told` says what was just done. `role_words` has names of roles.
pub(crate) fn accounts(
    viewer: &Viewer,
    staff: &Staff,
    told: Option<&str>,
    role_words: &dyn Fn(Role) -> &'static str,
) -> Markup {
    let main = html! {
        h1 { "Organizations and accounts" }
        @if let Some(told) = told { p.told-done role="status" { (told) } }
        section.part aria-labelledby="organizations-h" {
            h2 #organizations-h { "Organizations" }
            (organizations(&staff.organizations))
            details.more { summary { "Add an organization" } (organization_form()) }
        }
        section.part aria-labelledby="accounts-h" {
            h2 #accounts-h { "Accounts" }
            (list(&staff.accounts, role_words))
            details.more { summary { "Make an account" } (account_form(staff, role_words)) }
        }
    };
    framed("Accounts", viewer, Some(Place::Accounts), main)
}

fn organizations(organizations: &[OrganizationView]) -> Markup {
    html! {
        table.sheet.stack {
            thead { tr { th { "Organization" } th { "What it does" } th { "Place" } th { "Standing" } } }
            tbody {
                @for organization in organizations {
                    tr {
                        td data-label="Organization" { span.strong { (organization.name) } span.line.detail { (organization.id) } }
                        td data-label="What it does" { (organization.module) }
                        td data-label="Place" { (organization.place.trim_matches([',', ' '])) }
                        td data-label="Standing" { (standing(organization.suspended.as_deref(), false)) }
                    }
                }
            }
        }
    }
}

fn standing(suspended: Option<&str>, closed: bool) -> Markup {
    html! {
        @if closed { (tag("Closed", "soft")) }
        @else if let Some(why) = suspended { (tag("Suspended", "grave")) span.line.detail { (why) } }
        @else { (tag("Active", "live")) }
    }
}

fn list(accounts: &[AccountView], role_words: &dyn Fn(Role) -> &'static str) -> Markup {
    html! {
        table.sheet.stack {
            thead { tr { th { "Account" } th { "Role" } th { "Organization" } th { "Standing" } th { span.sr { "Steps" } } } }
            tbody {
                @for account in accounts {
                    tr {
                        td data-label="Account" { span.strong { (account.display_name) } span.line.detail { (account.id) } }
                        td data-label="Role" { (role_words(account.role)) }
                        td data-label="Organization" { (account.organization) }
                        td data-label="Standing" { (standing(account.suspended.as_deref(), account.closed)) }
                        td.act { @if !account.closed { (steps(account)) } }
                    }
                }
            }
        }
    }
}

fn steps(account: &AccountView) -> Markup {
    let request = format!("request-{}", account.id);
    html! {
        details.more {
            summary { "Change" }
            form action="/accounts/reset" method="post" {
                input type="hidden" name="user" value=(account.id);
                @if account.role == Role::System {
                    label for=(request) { "Certificate request (PKCS#10, PEM)" }
                    textarea id=(request) name="certificate_request" rows="4" required spellcheck="false" {}
                    button { "Replace its certificate" }
                } @else { button { "New password and code" } }
            }
            form action="/accounts/close" method="post" {
                input type="hidden" name="user" value=(account.id);
                button.grave { "Close for good" }
            }
        }
    }
}

fn text_field(name: &str, label: &str, hint: &str, required: bool) -> Markup {
    html! {
        div.field { label for=(name) { (label) }
            input id=(name) name=(name) placeholder=(hint) required[required] maxlength="120" spellcheck="false" autocomplete="off"; }
    }
}

fn organization_form() -> Markup {
    html! {
        form.inline action="/accounts/organizations" method="post" {
            (text_field("id", "Name in URLs", "lakeside-family", true))
            (text_field("name", "Legal name", "", true))
            div.field { label for="module" { "What it does" }
                select #module name="module" { @for module in Module::ALL { option value=(module) { (module) } } } }
            (text_field("street", "Street", "", false))
            (text_field("city", "City", "", false))
            (text_field("state", "State", "IN", true))
            (text_field("postal_code", "ZIP", "", false))
            (text_field("phone", "Telephone", "", false))
            (text_field("authority", "Assigning authority", "LAKESIDEFM=urn:oid:2.999.4471.1", false))
            (text_field("time_zone", "Time zone", "EST5EDT,M3.2.0,M11.1.0", true))
            div.field.act { button { "Add" } }
        }
    }
}

fn account_form(staff: &Staff, role_words: &dyn Fn(Role) -> &'static str) -> Markup {
    html! {
        form.inline action="/accounts" method="post" {
            (text_field("user", "Sign-in name", "amara.okafor", true))
            (text_field("display_name", "Name", "Amara Okafor, MD", true))
            div.field { label for="organization" { "Organization" }
                select #organization name="organization" {
                    @for organization in &staff.organizations { option value=(organization.id) { (organization.name) } }
                } }
            div.field { label for="role" { "Role" }
                select #role name="role" {
                    @for role in Role::ALL.iter().filter(|role| **role != Role::Patient) { option value=(role) { (role_words(*role)) } }
                } }
            (text_field("npi", "NPI, of clinicians", "", false))
            div.field.wide { label for="certificate_request" { "Certificate request, of systems (PKCS#10, PEM)" }
                textarea #certificate_request name="certificate_request" rows="4" spellcheck="false" {} }
            div.field.act { button { "Make" } }
        }
    }
}

/// What is shown once.
pub(crate) fn handed_over(viewer: &Viewer, user: &str, handed: &Handed) -> Markup {
    let main = html! {
        h1 { "For " (user) }
        @match handed {
            Handed::Secrets { password, totp_secret, totp_url } => {
                p.lead { "Shown this once and kept nowhere. Hand it over yourself; an authenticator app takes the secret or the address." }
                dl.facts {
                    dt { "Password" } dd { code { (password) } }
                    dt { "Code secret" } dd { code { (totp_secret) } }
                    dt { "For the app" } dd { code.hash { (totp_url) } }
                }
            }
            Handed::Certificate(pem) => {
                p.lead { "Its certificate. The key to it is with whoever made the request." }
                pre tabindex="0" { (pem) }
            }
        }
        p { a.button href="/accounts" { "Done" } }
    };
    framed("Handed over", viewer, Some(Place::Accounts), main)
}
