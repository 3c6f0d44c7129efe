//! What the commands of administration are told.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{DirArguments, SignInArguments};

/// Who administers a new exchange.
#[derive(Args)]
pub struct FirstArguments {
    /// Sign-in name of the first administrator: a person's own, such as jo.moss.
    #[arg(long)]
    pub administrator: Option<String>,
    /// The person's name on screens; default: the sign-in name.
    #[arg(long, requires = "administrator")]
    pub name: Option<String>,
    /// Name in URLs of the organization that runs the exchange.
    #[arg(long, requires = "administrator", default_value = "exchange")]
    pub organization: String,
    /// Its legal name; default: its name in URLs.
    #[arg(long, requires = "administrator")]
    pub organization_name: Option<String>,
    /// Also write the sign-in data to this file (never into the data folder).
    #[arg(long, requires = "administrator")]
    pub credentials: Option<PathBuf>,
}

/// Tasks with accounts.
#[derive(Subcommand)]
pub enum AccountTask {
    /// Make the first administrator of an exchange that has none and is not running.
    First {
        /// The data folder.
        #[command(flatten)]
        dir: DirArguments,
        /// Who it is.
        #[command(flatten)]
        first: FirstArguments,
    },
    /// Give an administrator new secrets by the root key's passphrase, when nobody who
    /// could do it has theirs any more. The exchange must not run.
    Recover {
        /// The data folder.
        #[command(flatten)]
        dir: DirArguments,
        /// Sign-in name of the administrator.
        #[arg(long)]
        administrator: String,
        /// Also write the sign-in data to this file (never into the data folder).
        #[arg(long)]
        credentials: Option<PathBuf>,
    },
    /// Make an account. A person's password and code are shown once.
    Add {
        /// Who makes it: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Sign-in name: a person's own, such as amara.okafor, or a system's, such as
        /// hl7v2@lakeside-family.
        account: String,
        /// The organization that it works for.
        #[arg(long)]
        organization: String,
        /// clinician, nurse, registrar, laboratory-staff, transcriptionist,
        /// occupational-clinician, employer-manager, privacy-officer, security-officer,
        /// administrator or system.
        #[arg(long)]
        role: String,
        /// The person's or system's name on screens.
        #[arg(long)]
        name: String,
        /// National Provider Identifier: ties clinicians to their patients.
        #[arg(long)]
        npi: Option<String>,
        /// How a system signs in.
        #[command(flatten)]
        certificate: CertificateArguments,
        /// Also add a person's sign-in data to this credentials file.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// List accounts.
    List {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Of this organization only.
        #[arg(long)]
        organization: Option<String>,
    },
    /// Show one account.
    Show {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which.
        account: String,
    },
    /// Suspend an account at once; its sessions end.
    Suspend {
        /// Who suspends: a security or privacy officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which.
        account: String,
        /// Why; stands in the ledger.
        #[arg(long)]
        reason: String,
    },
    /// Lift a suspension. Nobody lifts their own.
    Restore {
        /// Who lifts it: a security or privacy officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which.
        account: String,
        /// Why; stands in the ledger.
        #[arg(long)]
        reason: String,
    },
    /// Give a person a new password and code, or a system another certificate.
    Reset {
        /// Who does it: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Whose.
        account: String,
        /// Of a system: how it signs in from now on.
        #[command(flatten)]
        certificate: CertificateArguments,
        /// Also put a person's new sign-in data into this credentials file.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Close an account for good; its name is never given again.
    Close {
        /// Who closes it: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which.
        account: String,
    },
}

/// How a system signs in.
#[derive(Args)]
pub struct CertificateArguments {
    /// Of a system: file to write its certificate to. Without --request also a new key,
    /// which is made here and never sent.
    #[arg(long)]
    pub certificate: Option<PathBuf>,
    /// Of a system: its own certificate request (PKCS#10, PEM), for a key that it keeps.
    #[arg(long, requires = "certificate")]
    pub request: Option<PathBuf>,
}

/// Settings of an organization.
#[derive(Args)]
pub struct OrganizationSettings {
    /// Its legal name, for letters and screens.
    #[arg(long)]
    pub name: Option<String>,
    /// practice, hospital, laboratory, transcription, employer or operator.
    #[arg(long)]
    pub module: Option<String>,
    /// Street and number.
    #[arg(long)]
    pub street: Option<String>,
    /// City.
    #[arg(long)]
    pub city: Option<String>,
    /// USPS code of its state.
    #[arg(long)]
    pub state: Option<String>,
    /// ZIP code.
    #[arg(long)]
    pub zip: Option<String>,
    /// Telephone for its patients.
    #[arg(long)]
    pub phone: Option<String>,
    /// How its messages name who assigned a number, and the URI that stands for it:
    /// LAKESIDEFM=urn:oid:2.999.4471.1. Once for each.
    #[arg(long = "authority", value_name = "NAME=SYSTEM")]
    pub authorities: Vec<String>,
    /// The authority of numbers that name none.
    #[arg(long)]
    pub default_authority: Option<String>,
    /// Time zone of times that name none, in POSIX form: EST5EDT,M3.2.0,M11.1.0.
    #[arg(long)]
    pub time_zone: Option<String>,
}

/// A budget that is set.
#[derive(Args)]
pub struct BudgetArguments {
    /// Who sets it: a security officer; nobody raises their own.
    #[command(flatten)]
    pub sign_in: SignInArguments,
    /// Of this principal.
    #[arg(long, conflicts_with = "organization", required_unless_present = "organization")]
    pub principal: Option<String>,
    /// Of all principals of this organization together.
    #[arg(long)]
    pub organization: Option<String>,
    /// Distinct patients a minute.
    #[arg(long)]
    pub per_minute: u32,
    /// Distinct patients an hour.
    #[arg(long)]
    pub per_hour: u32,
    /// Distinct patients a day.
    #[arg(long)]
    pub per_day: u32,
    /// Why; stands in the ledger.
    #[arg(long)]
    pub reason: String,
}

/// Tasks with organizations.
#[derive(Subcommand)]
pub enum OrganizationTask {
    /// Put an organization on the exchange; its keys are made.
    Add {
        /// Who does it: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Its name in URLs: lower-case letters, digits and hyphens.
        organization: String,
        /// What it is; a name, a module, a state and a time zone are needed.
        #[command(flatten)]
        settings: Box<OrganizationSettings>,
    },
    /// Change settings; those that are not named stay. Authorities are replaced together.
    Change {
        /// Who does it: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which.
        organization: String,
        /// What changes.
        #[command(flatten)]
        settings: Box<OrganizationSettings>,
    },
    /// List organizations.
    List {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
    },
    /// Show the settings of one.
    Show {
        /// Who asks: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which.
        organization: String,
    },
    /// Suspend everybody and every system of an organization at once.
    Suspend {
        /// Who does it: an officer of the organization that runs the exchange.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which.
        organization: String,
        /// Why; stands in the ledger.
        #[arg(long)]
        reason: String,
    },
    /// Lift that again.
    Restore {
        /// Who does it: an officer of the organization that runs the exchange.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which.
        organization: String,
        /// Why; stands in the ledger.
        #[arg(long)]
        reason: String,
    },
}

/// Tasks with kept messages.
#[derive(Subcommand)]
pub enum MessageTask {
    /// List what waits or was refused, newest first: no word of what it says.
    List {
        /// Who asks: an administrator, or a registrar or privacy officer of the sender.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Sent by this organization only.
        #[arg(long)]
        organization: Option<String>,
        /// Refused for a reason of this category only.
        #[arg(long)]
        category: Option<String>,
        /// Go on after this one.
        #[arg(long)]
        after: Option<u64>,
        /// Most messages of one page.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Print what a refused message says: in the ledger, with your name and the reason.
    Show {
        /// Who asks: a privacy officer of the organization that sent it.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Its number.
        message: u64,
        /// Why; stands in the ledger for ever. No word about the patient.
        #[arg(long)]
        reason: String,
        /// Write the very bytes to this file instead.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Try one again, or all of a category, the oldest first.
    Replay {
        /// Who asks: an administrator, or a registrar or privacy officer of the sender.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Its number.
        #[arg(required_unless_present = "category", conflicts_with = "category")]
        message: Option<u64>,
        /// All that were refused for a reason of this category.
        #[arg(long)]
        category: Option<String>,
        /// Sent by this organization only.
        #[arg(long, requires = "category")]
        organization: Option<String>,
    },
}
