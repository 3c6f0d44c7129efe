//! The first administrator, and coming back when the last one is locked out. Both need
//! the data folder and the root key's passphrase, and an exchange that does not run.

use std::path::Path;
use std::sync::Arc;

use holdfast_base::{OrganizationId, PrincipalId};
use holdfast_exchange::{
    Ask, Enrollment, Exchange, ExchangeError, Module, NewAccount, NewOrganization, Role,
};
use zeroize::Zeroizing;

use super::accounts::{Secrets, keep, show_once};
use super::args::FirstArguments;
use crate::client::{Credential, refuse_inside};
use crate::config::Config;
use crate::failure::{Failure, chain};
use crate::tls::Authority;
use crate::wiring::{self, Folder, KeeperProcess};

/// Where times without an offset are when nobody says.
const TIME_ZONE: &str = "UTC0";

/// An exchange that was opened for one command.
struct Opened {
    folder: Folder,
    exchange: Arc<Exchange>,
    keeper: Option<KeeperProcess>,
}

impl Opened {
    async fn of(dir: &Path, passphrase: Option<Zeroizing<String>>) -> Result<Self, Failure> {
        let folder = Folder::at(dir);
        if !folder.is_a_servers() {
            return Err(Failure::new(format!(
                "{} is no data folder; `holdfast init --dir {0}` makes one",
                dir.display()
            )));
        }
        let config = Config::read(dir)?;
        wiring::start_logging(&config);
        let keeper = match (config.start_keeper, passphrase) {
            (false, _) => None,
            (true, Some(passphrase)) => Some(KeeperProcess::start(&folder, passphrase).await?),
            (true, None) => {
                Some(KeeperProcess::start(&folder, wiring::passphrase(&config)?).await?)
            }
        };
        let exchange = wiring::open_exchange(&folder, &config).await?;
        Ok(Self { folder, exchange, keeper })
    }

    async fn close(self) {
        drop(self.exchange);
        if let Some(keeper) = self.keeper {
            keeper.stop().await;
        }
    }
}

/// Makes the organization that runs the exchange and its first administrator.
///
/// # Errors
/// When there is one already, or what is said cannot be used.
pub async fn run(
    dir: &Path,
    first: &FirstArguments,
    passphrase: Option<Zeroizing<String>>,
) -> Result<(), Failure> {
    let Some(user) = &first.administrator else {
        return Err(Failure::new("say who it is: --administrator jo.moss"));
    };
    if let Some(path) = &first.credentials {
        refuse_inside(dir, path)?;
    }
    let id = PrincipalId::new(user).map_err(|_| {
        Failure::new("a sign-in name has lower-case letters, digits and . _ - @ :, such as jo.moss")
    })?;
    let organization = OrganizationId::new(&first.organization).map_err(|_| {
        Failure::new("an organization's name has lower-case letters, digits and hyphens")
    })?;
    let opened = Opened::of(dir, passphrase).await?;
    let made = make(&opened, first, (id, organization)).await;
    opened.close().await;
    let enrolled = made?;
    let credential = credential_of(first, &enrolled);
    println!();
    show_once(&Secrets::of(&enrolled));
    println!();
    println!("They alone can make organizations and accounts now. Start the exchange:");
    println!("    holdfast serve --dir {}", dir.display());
    keep(first.credentials.as_deref(), credential)
}

fn credential_of(first: &FirstArguments, enrolled: &Enrollment) -> Credential {
    Credential {
        user: enrolled.id.to_string(),
        name: first.name.clone().unwrap_or_else(|| enrolled.id.to_string()),
        organization: first.organization.clone(),
        role: Role::Administrator.as_str().to_owned(),
        password: enrolled.password.expose().clone(),
        totp_secret: enrolled.totp_secret.expose().clone(),
    }
}

async fn make(
    opened: &Opened,
    first: &FirstArguments,
    (id, organization): (PrincipalId, OrganizationId),
) -> Result<Enrollment, Failure> {
    let exchange = &opened.exchange;
    // So that the commands find whom to trust before it was ever served.
    Authority::of(exchange, opened.folder.path()).await?;
    let ask = Ask::new(exchange.set_up(operator_name()).map_err(told)?);
    let name = first.organization_name.clone().unwrap_or_else(|| organization.to_string());
    let facts = NewOrganization {
        id: organization.clone(),
        name,
        module: Module::Operator,
        street: String::new(),
        city: String::new(),
        state: String::new(),
        postal_code: String::new(),
        phone: String::new(),
        authorities: Default::default(),
        default_authority: None,
        time_zone: TIME_ZONE.to_owned(),
    };
    exchange.create_organization(&ask, facts).await.map_err(told)?;
    let account = NewAccount {
        display_name: first.name.clone().unwrap_or_else(|| id.to_string()),
        id,
        organization,
        role: Role::Administrator,
        npi: None,
        certificate: None,
        patient: None,
    };
    exchange.create_account(&ask, account).await.map_err(told)
}

/// What is wrong, and what to do.
fn told(error: ExchangeError) -> Failure {
    match &error {
        ExchangeError::NotPermitted { reason: "already-set-up" } => Failure::new(
            "this exchange has an administrator, who makes everybody else: `holdfast account add`. If \
             nobody has their secrets: `holdfast account recover --administrator NAME`",
        ),
        ExchangeError::NotPermitted { reason: "wrong-passphrase" } => {
            Failure::new("the passphrase or PIN is wrong")
        }
        ExchangeError::NotPermitted { reason: "task-not-for-role" } => Failure::new(
            "the passphrase recovers administrators only; they reset everybody else: `holdfast account \
             reset NAME`",
        ),
        ExchangeError::NotFound => Failure::new("this exchange never had such an administrator"),
        _ => Failure::new(chain(&error)),
    }
}

/// Gives an administrator new secrets by the passphrase or PIN.
///
/// # Errors
/// When it is wrong, or there is no such administrator.
pub async fn recover(
    dir: &Path,
    administrator: &str,
    credentials: Option<&Path>,
) -> Result<(), Failure> {
    if let Some(path) = credentials {
        refuse_inside(dir, path)?;
    }
    let id = PrincipalId::new(administrator).map_err(|_| told(ExchangeError::NotFound))?;
    let passphrase = wiring::passphrase(&Config::read(dir)?)?;
    let opened = Opened::of(dir, Some(passphrase.clone())).await?;
    let recovered = opened.exchange.recover_administrator(passphrase.as_bytes(), &id).await;
    opened.close().await;
    let enrolled = recovered.map_err(told)?;
    show_once(&Secrets::of(&enrolled));
    let credential = Credential {
        user: enrolled.id.to_string(),
        name: enrolled.id.to_string(),
        organization: String::new(),
        role: Role::Administrator.as_str().to_owned(),
        password: enrolled.password.expose().clone(),
        totp_secret: enrolled.totp_secret.expose().clone(),
    };
    keep(credentials, credential)
}

/// Who sets the exchange up, in entries.
pub fn operator_name() -> PrincipalId {
    let user = std::env::var("USER").unwrap_or_default();
    let name: String = user.chars().filter(char::is_ascii_lowercase).take(40).collect();
    let text = format!("set-up:{}", if name.is_empty() { "operator" } else { &name });
    PrincipalId::new(&text).unwrap_or_else(|_| unreachable!("lower-case letters make a valid name"))
}
