//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::admin::args::{
    AccountTask, BudgetArguments, FirstArguments, MessageTask, OrganizationTask,
};
use crate::admin::profiles::ProfileTask;

/// An open health information exchange whose data at rest is noise, whose keys
/// never leave without a ledger entry, and whose breach is a query.
#[derive(Parser)]
#[command(name = "holdfast", version, about, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Make a sample community, send it through the real doors and keep serving.
    Demo(DemoArguments),
    /// Make a new data folder, and with --administrator the first account.
    Init {
        /// The data folder.
        #[command(flatten)]
        dir: DirArguments,
        /// Where its store will lie.
        #[command(flatten)]
        store: StoreArguments,
        /// Also write the root key's passphrase to this file (never into the data folder).
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
        /// Who administers it.
        #[command(flatten)]
        first: FirstArguments,
    },
    /// Serve the exchange in a data folder.
    Serve {
        /// The data folder.
        #[command(flatten)]
        dir: DirArguments,
        /// Where its store lies.
        #[command(flatten)]
        store: StoreArguments,
    },
    /// Run the keeper of a data folder by itself.
    Keeper {
        /// The data folder.
        #[command(flatten)]
        dir: DirArguments,
        /// Read the passphrase from standard input and end when it closes.
        #[arg(long)]
        passphrase_stdin: bool,
    },
    /// Write a believable, synthetic community's messages as files.
    Sample {
        /// Persons.
        #[arg(long, default_value_t = 300)]
        patients: u32,
        /// The same seed gives the same bytes.
        #[arg(long, default_value_t = 2015)]
        seed: u64,
        /// `messages`: the year of the community as it travels; `fhir`: one transaction
        /// bundle a person, with some 250 resources of ten years.
        #[arg(long, default_value = "messages", value_parser = ["messages", "fhir"])]
        format: String,
        /// Folder to write to; must not exist or be empty.
        #[arg(long)]
        out: PathBuf,
    },
    /// Send HL7 v2, C-CDA or FHIR files to a running exchange, and say what became of each.
    Load {
        /// Who sends.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Send as a system: its certificate and key (`demo --certificates`). A person's
        /// budget of patients is small; systems are made for bulk.
        #[arg(long)]
        certificate: Option<PathBuf>,
        /// The organization that sends; default: where the sender works.
        #[arg(long)]
        organization: Option<String>,
        /// Files, or folders of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Sign in and print a bearer token.
    Token(SignInArguments),
    /// Replay a known attack against a running exchange and print what it saw.
    Drill {
        /// Which attack.
        #[arg(value_enum)]
        attack: Attack,
        /// The data folder of the running exchange.
        #[command(flatten)]
        dir: DirArguments,
        /// Credentials file that the demo wrote: the clinician whose token is stolen and
        /// the security officer who watches are taken from it.
        #[arg(long)]
        credentials: PathBuf,
        /// Sign-in name of the clinician whose token is stolen; default: the first one.
        #[arg(long)]
        victim: Option<String>,
    },
    /// Print whom somebody touched: persons, element classes, organizations, states.
    Scope {
        /// Who asks: a privacy or security officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// What to look for.
        #[command(flatten)]
        query: ScopeArguments,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = ScopeFormat::Text)]
        format: ScopeFormat,
    },
    /// List incidents, or show one.
    Incident {
        /// Who asks: a privacy or security officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Number of the incident.
        number: Option<u64>,
    },
    /// Answer an incident.
    Respond {
        /// What to do.
        #[command(subcommand)]
        step: RespondStep,
    },
    /// Accounts of people and systems: make, list, suspend, reset, close.
    Account {
        /// What to do.
        #[command(subcommand)]
        task: AccountTask,
    },
    /// Profiles that resources are checked against: add, list, remove, policy.
    Profiles {
        /// What to do.
        #[command(subcommand)]
        task: ProfileTask,
    },
    /// Organizations on the exchange: add, change, list, suspend.
    Organization {
        /// What to do.
        #[command(subcommand)]
        task: OrganizationTask,
    },
    /// Set how many distinct patients a principal or an organization may open.
    Budget(BudgetArguments),
    /// Messages that wait or were refused: list, open one, try again.
    Message {
        /// What to do.
        #[command(subcommand)]
        task: MessageTask,
    },
    /// Bulk grants: more patients than a budget allows, by two people.
    Grant {
        /// What to do.
        #[command(subcommand)]
        step: GrantTask,
    },
    /// Bulk exports and imports: list, show, cancel.
    Bulk {
        /// What to do.
        #[command(subcommand)]
        task: crate::bulk::BulkTask,
    },
    /// Subscriptions: list, send again, turn off, say which hosts may be sent to.
    Subscription {
        /// What to do.
        #[command(subcommand)]
        task: crate::subscriptions::SubscriptionTask,
    },
    /// The audit ledger: check it offline, list and prove entries, hold it against the
    /// store, export evidence.
    Ledger {
        /// What to do.
        #[command(subcommand)]
        task: LedgerTask,
    },
    /// Move the store of a data folder, which nobody serves, into a database or back.
    Migrate {
        /// Where the store lies: the data folder, or its postgres:// URL.
        #[arg(long)]
        from: String,
        /// Where it goes: a postgres:// URL, or the data folder.
        #[arg(long)]
        to: String,
    },
    /// Watch over other people's ledgers: cosign what continues, refuse what forks.
    Witness {
        /// What to do.
        #[command(subcommand)]
        task: WitnessTask,
    },
    /// Show the keys of a data folder, rotate, move, escrow and recover them.
    Keys {
        /// The data folder.
        #[command(flatten)]
        dir: DirArguments,
        /// What to do.
        #[command(subcommand)]
        task: KeysTask,
    },
    /// List every algorithm in use, with its library and purpose, and the keys' ages.
    Crypto {
        /// The data folder, for the keys; without one, the algorithms alone.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Write a CycloneDX 1.6 bill of materials (CBOM) instead of a table.
        #[arg(long)]
        cbom: bool,
    },
    /// Destroy one patient's key, so that the record can never be read again.
    Forget {
        /// Who asks: a privacy officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// The organization that keeps the record.
        #[arg(long)]
        organization: String,
        /// Logical id of the Patient.
        #[arg(long)]
        patient: String,
        /// Why: it stands in the ledger for ever. No word about the patient.
        #[arg(long)]
        reason: String,
        /// `yes` confirms without a question; otherwise a code is shown and asked for.
        #[arg(long)]
        confirm: Option<String>,
    },
    /// Back up a running exchange: what came since the last backup, sealed.
    Backup {
        /// Who asks: an administrator or security officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// A folder of the server, or s3://bucket/prefix (AWS_* variables of the server).
        #[arg(long)]
        to: String,
        /// Make none; read every backup that is there and prove it. Needs the root key's
        /// passphrase, no running exchange.
        #[arg(long)]
        verify: bool,
    },
    /// Make a data folder from a backup, and prove it against the ledger.
    Restore(RestoreArguments),
    /// List every setting, with its default and environment variable.
    Config,
}

/// What to restore, and where to.
#[derive(Args)]
pub struct RestoreArguments {
    /// The backups: a folder, or s3://bucket/prefix (AWS_* variables).
    #[arg(long)]
    pub from: String,
    /// The data folder to make. May hold holdfast.toml and the keeper's folder; those are
    /// left as they are, and the ledger there decides what is missing.
    #[arg(long)]
    pub to: PathBuf,
    /// newest, backup:NUMBER, commit:NUMBER, or a time such as 2026-05-07T00:00:00Z.
    #[arg(long, default_value = "newest")]
    pub at: String,
    /// Your copy of root.key, unless it is in the keeper's folder already.
    #[arg(long)]
    pub root_key: Option<PathBuf>,
    /// PostgreSQL to move the restored store into, once it is proven: as in `migrate --to`.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Why commits that the ledger acknowledged may be left behind; goes into the ledger.
    #[arg(long)]
    pub reason: Option<String>,
    /// Who does it, for the ledger.
    #[arg(long, default_value = "system:restore")]
    pub by: String,
}

/// Where the data folder is.
#[derive(Args, Clone)]
pub struct DirArguments {
    /// The data folder.
    #[arg(long, env = "HOLDFAST_DIR", default_value = "holdfast-data")]
    pub dir: PathBuf,
}

/// Where the store lies, if not in the data folder.
#[derive(Args, Clone)]
pub struct StoreArguments {
    /// PostgreSQL to keep the store in: postgres://user@host/database?sslmode=verify-full&
    /// sslrootcert=FILE. Others on this machine see it; a password belongs into HOLDFAST_STORE.
    #[arg(long = "store", value_name = "URL")]
    pub url: Option<String>,
}

/// What the demo needs to know.
#[derive(Args)]
pub struct DemoArguments {
    /// Data folder to make.
    #[arg(long, env = "HOLDFAST_DIR", default_value = "holdfast-demo")]
    pub dir: PathBuf,
    /// Replace a demo folder that exists, and ask nothing.
    #[arg(long)]
    pub yes: bool,
    /// Persons in the community.
    #[arg(long, default_value_t = 300)]
    pub patients: u32,
    /// The same seed gives the same community.
    #[arg(long, default_value_t = 2015)]
    pub seed: u64,
    /// Also write everybody's sign-in data to this file (never into the data folder).
    #[arg(long)]
    pub credentials: Option<PathBuf>,
    /// Also write the root key's passphrase to this file (never into the data folder).
    #[arg(long)]
    pub passphrase_file: Option<PathBuf>,
    /// Also write every system's client certificate and key to this folder, to try an
    /// interface engine of your own (never into the data folder).
    #[arg(long)]
    pub certificates: Option<PathBuf>,
    /// Address of the console and the FHIR API.
    #[arg(long, default_value = "127.0.0.1:8443")]
    pub https: std::net::SocketAddr,
    /// Address for HL7 v2 over MLLP.
    #[arg(long, default_value = "127.0.0.1:2575")]
    pub mllp: std::net::SocketAddr,
    /// Where the store will lie.
    #[command(flatten)]
    pub store: StoreArguments,
    /// Stop when everything is loaded instead of serving on.
    #[arg(long)]
    pub exit: bool,
}

/// How somebody signs in to a running exchange.
#[derive(Args, Clone)]
pub struct SignInArguments {
    /// The data folder of the running exchange.
    #[command(flatten)]
    pub dir: DirArguments,
    /// Sign-in name; asks for password and code, unless there is a credentials file.
    #[arg(long)]
    pub user: Option<String>,
    /// Credentials file that the demo wrote.
    #[arg(long)]
    pub credentials: Option<PathBuf>,
}

/// What a scope looks for; everything that is given must hold.
#[derive(Args, Default)]
pub struct ScopeArguments {
    /// Acts of this principal.
    #[arg(long)]
    pub principal: Option<String>,
    /// Acts in this session.
    #[arg(long)]
    pub session: Option<String>,
    /// Acts under this bearer token, live or of the last sessions.
    #[arg(long)]
    pub token: Option<String>,
    /// Acts from this network address.
    #[arg(long)]
    pub address: Option<String>,
    /// Records that this organization keeps.
    #[arg(long)]
    pub organization: Option<String>,
    /// Not before (RFC 3339).
    #[arg(long)]
    pub from: Option<String>,
    /// Before (RFC 3339).
    #[arg(long)]
    pub to: Option<String>,
}

/// How a scope is printed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum ScopeFormat {
    /// A table for people.
    Text,
    /// One row a patient record.
    Csv,
    /// Everything.
    Json,
}

/// Attacks that can be replayed.
#[derive(ValueEnum, Clone, Copy)]
pub enum Attack {
    /// The breach of 2015: shared logins, injection, a stolen token, a copied folder.
    #[value(name = "mie-2015")]
    Mie2015,
}

/// Steps of a response.
#[derive(Subcommand)]
pub enum RespondStep {
    /// Draft packages, letters and deadlines from an incident's scope.
    Draft {
        /// Who drafts: a privacy officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Number of the incident.
        #[arg(long)]
        incident: u64,
        /// Folder to write to; must not exist or be empty.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Tasks of a witness.
#[derive(Subcommand)]
pub enum WitnessTask {
    /// Make a witness in a folder of its own, with new keys.
    Init {
        /// The witness's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Its name in notes, such as witness.example.org/w1.
        #[arg(long)]
        name: String,
        /// Policy files of the logs that it watches (`holdfast ledger policy`).
        #[arg(long = "log", required = true)]
        logs: Vec<PathBuf>,
    },
    /// Answer logs that ask for cosignatures.
    Run {
        /// The witness's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Address to listen on.
        #[arg(long, default_value = "127.0.0.1:2580")]
        listen: std::net::SocketAddr,
    },
    /// Print the public keys, as policies list them.
    Key {
        /// The witness's folder.
        #[arg(long)]
        dir: PathBuf,
    },
}

/// Tasks with keys.
#[derive(Subcommand)]
pub enum KeysTask {
    /// Every key with its generations, age and due date, and what protects the root.
    Status,
    /// Give a key a new generation.
    Rotate {
        /// root, system, mpi-seal, ledger-signer, ledger-bodies, marks,
        /// organization/NAME/wrap, organization/NAME/inbox or patient/ORGANIZATION/ID.
        key: String,
        /// Why; stands in the ledger.
        #[arg(long, default_value = "routine")]
        reason: String,
    },
    /// End the time in which the ledger's former signing key signs, too.
    RetireSigner {
        /// Why; stands in the ledger.
        #[arg(long, default_value = "routine")]
        reason: String,
    },
    /// Seal the root key file under another passphrase; also back from a token.
    ChangePassphrase {
        /// The new one.
        #[command(flatten)]
        new: NewPassphrase,
        /// Why; stands in the ledger.
        #[arg(long, default_value = "routine")]
        reason: String,
    },
    /// Let a key in a PKCS#11 token protect the root.
    MoveToToken {
        /// The token's library.
        #[arg(long)]
        module: PathBuf,
        /// The token's label.
        #[arg(long)]
        token: String,
        /// File with its user PIN; without it, asked for on the terminal.
        #[arg(long)]
        pin_file: Option<PathBuf>,
        /// Why; stands in the ledger.
        #[arg(long, default_value = "routine")]
        reason: String,
    },
    /// Make a recovery kit: shares, some of which together give the root key.
    Escrow {
        /// Shares that are needed.
        #[arg(long, default_value_t = 2)]
        needed: u8,
        /// Shares to make.
        #[arg(long, default_value_t = 3)]
        shares: u8,
        /// Folder to write them to; must not exist.
        #[arg(long)]
        out: PathBuf,
        /// Why; stands in the ledger.
        #[arg(long, default_value = "routine")]
        reason: String,
    },
    /// Recover the root key from shares of a kit. The keeper must not run.
    Recover {
        /// Files of shares.
        #[arg(required = true)]
        shares: Vec<PathBuf>,
        /// The passphrase that the root key gets.
        #[command(flatten)]
        new: NewPassphrase,
    },
}

/// A passphrase to be set.
#[derive(Args)]
pub struct NewPassphrase {
    /// File with the new passphrase; without it, asked for on the terminal.
    #[arg(long)]
    pub new_passphrase_file: Option<PathBuf>,
}

/// Steps of a bulk grant.
#[derive(Subcommand)]
pub enum GrantTask {
    /// Propose a grant; it waits for a second person.
    Propose {
        /// Who proposes: an officer or administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// The organization whose records it is for.
        #[arg(long)]
        organization: String,
        /// Who may use it.
        #[arg(long)]
        principal: String,
        /// Distinct patients, at most.
        #[arg(long)]
        patients: u32,
        /// When it ends by itself: so many hours from now, at most 168.
        #[arg(long, default_value_t = 8)]
        hours: u32,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Approve a grant that somebody else proposed.
    Approve {
        /// Who approves: another officer or administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Number of the grant.
        grant: String,
    },
    /// End a grant before its time.
    Revoke {
        /// Who revokes.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Number of the grant.
        grant: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// List the grants that wait or live.
    List {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
    },
}

/// Tasks with the ledger.
#[derive(Subcommand)]
pub enum LedgerTask {
    /// Check a ledger folder or an evidence bundle, offline, trusting only the policy. Ends
    /// with code 1 and names each place that is not as it must be.
    Verify {
        /// A ledger folder, a data folder, or an evidence bundle.
        path: PathBuf,
        /// Policy file: the log's name and key, and the last checkpoint seen.
        #[arg(long)]
        policy: PathBuf,
    },
    /// Write a policy, the file that says what verifiers trust: name and keys of the log, and
    /// the checkpoint of now. Keep it elsewhere.
    Policy {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Prove that an entry is in the ledger, or that the ledger only grew.
    Prove {
        /// Who asks: a privacy or security officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// The entry.
        #[arg(long, conflicts_with = "consistency", required_unless_present = "consistency")]
        entry: Option<u64>,
        /// Size of the tree that the entry is to be proven in; default: now.
        #[arg(long, requires = "entry")]
        size: Option<u64>,
        /// Two sizes: that the tree of the second begins with that of the first.
        #[arg(long, num_args = 2, value_names = ["A", "B"])]
        consistency: Option<Vec<u64>>,
    },
    /// List entries: whose acts, about whom, from where, when, of which kind.
    Entries {
        /// Who asks: a privacy or security officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which entries.
        #[command(flatten)]
        query: ScopeArguments,
        /// About this patient's record (the id that entries name).
        #[arg(long)]
        patient: Option<String>,
        /// Kinds, such as access,key-release.
        #[arg(long, value_delimiter = ',')]
        kind: Vec<String>,
        /// Go on after this entry.
        #[arg(long)]
        after: Option<u64>,
        /// Most entries of one page.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// A sentence an entry, instead of JSON.
        #[arg(long)]
        words: bool,
    },
    /// Hold key releases, access details and the store against each other: a gap is named
    /// with its place, and the exit code is 1.
    Reconcile {
        /// Who asks: an officer of the organization that runs the exchange.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Entries not before (RFC 3339).
        #[arg(long)]
        from: Option<String>,
        /// Entries before (RFC 3339).
        #[arg(long)]
        to: Option<String>,
        /// Do nothing now; show how far the job in the background is, and what it found.
        #[arg(long, conflicts_with_all = ["from", "to"])]
        state: bool,
    },
    /// Export entries with their proofs, to be verified elsewhere.
    Evidence {
        /// Who asks: a privacy or security officer.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Which entries.
        #[command(flatten)]
        query: ScopeArguments,
        /// Policy of those who will check it: the bundle then proves that the ledger
        /// continues the one that they saw.
        #[arg(long)]
        policy: Option<PathBuf>,
        /// Stand on the checkpoint that witnesses cosigned last; later entries are left
        /// out. Implied by a policy that requires witnesses.
        #[arg(long)]
        witnessed: bool,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
}
