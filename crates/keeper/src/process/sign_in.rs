//! Signing people in: passwords and codes are checked here, by nobody else. Slow
//! work is done off the scribe's thread, which decides what only one may decide:
//! whether a code was used before, and whether somebody is suspended.

use std::sync::Arc;

use holdfast_base::{Clock, PrincipalId};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::scribe::{Outcome, Task};
use super::server::{Shared, blocking, mixed_up};
use crate::error::{Malformed, Refused};
use crate::people::{
    Kind, People, Throttle, hash, pretend_to_check, strong_password, totp, totp_secret,
};
use crate::protocol::{Answer, SHOWN_BYTES_MAX, WireSecrets, WireSignIn};

/// Passwords that are checked at once: each takes 19 MiB and a core.
const CHECKS_AT_ONCE: usize = 4;

/// What signing in needs.
pub(super) struct Door {
    pub people: Arc<People>,
    pub clock: Arc<dyn Clock>,
    throttle: Throttle,
    checking: Semaphore,
}

impl Door {
    pub fn new(people: Arc<People>, clock: Arc<dyn Clock>, throttle: Throttle) -> Self {
        Self { people, clock, throttle, checking: Semaphore::new(CHECKS_AT_ONCE) }
    }

    /// A person's new secrets, and how they are kept.
    pub async fn make_secrets(&self) -> Result<(Kind, WireSecrets), Refused> {
        let _turn = self.checking.acquire().await;
        let password = Zeroizing::new(strong_password());
        let totp_secret = Zeroizing::new(totp_secret());
        let hashing = password.clone();
        let no_memory = || Refused::Fault { what: "a password could not be hashed".to_owned() };
        let password_hash = blocking(move || hash(&hashing).ok_or_else(no_memory)).await?;
        let kind = Kind::Person { password_hash, totp_secret: totp_secret.to_string() };
        Ok((kind, WireSecrets { password, totp_secret }))
    }
}

/// Opens a session for whoever has the right password and code. A wrong name takes as
/// long as a wrong password and reads the same.
pub(super) async fn open_session(shared: &Shared, shown: WireSignIn) -> Result<Answer, Refused> {
    let WireSignIn { name, password, code, address } = shown;
    let lengths = [name.len(), password.len(), code.len()];
    if lengths.into_iter().any(|length| length > SHOWN_BYTES_MAX) {
        return Err(Malformed::TooLarge.into());
    }
    let door = &shared.door;
    let now = door.clock.now();
    let row = PrincipalId::new(&name).ok().and_then(|id| door.people.open_one(&id));
    let known = row.as_ref().map(|row| row.id.clone());
    let refuse =
        |reason| Task::RefuseSignIn { name: known.clone(), address: address.clone(), reason };
    let keys = Throttle::keys(&name, address.as_deref());
    let wait_ms = door.throttle.wait_ms(&keys, now);
    if wait_ms > 0 {
        shared.scribe(refuse("throttled")).await?;
        return Err(Refused::Throttled { wait_seconds: (wait_ms as u64).div_ceil(1000) });
    }
    let secret = row.as_ref().map(|row| Zeroizing::new(row.totp_secret().to_owned()));
    let fits = {
        let _turn = door.checking.acquire().await;
        let check = move || {
            Ok(match row.filter(|row| matches!(row.kind, Kind::Person { .. })) {
                Some(row) => row.password_fits(&password),
                None => {
                    pretend_to_check(&password);
                    false
                }
            })
        };
        blocking(check).await?
    };
    let step = totp::matching_step(secret.as_ref().map_or("", |s| s), code.trim(), now);
    let (Some(principal), Some(step), true) = (known.clone(), step, fits) else {
        door.throttle.failed(&keys, now);
        shared.scribe(refuse("wrong-credentials")).await?;
        return Err(Refused::NotSignedIn);
    };
    let opened = shared.scribe(Task::OpenSession { principal, step, address }).await;
    if matches!(opened, Ok(_) | Err(Refused::Suspended { .. })) {
        door.throttle.succeeded(&keys);
    }
    match opened? {
        Outcome::Opened(opened) => Ok(Answer::Opened { token: opened.token, facts: opened.facts }),
        _ => Err(mixed_up()),
    }
}
