//! Signing in and staying signed in.
//!
//! Two factors for people, a certificate for systems. A token is 256 random
//! bits; only its keyed digest is held, in memory, bound to the network address
//! that it was given to. Restarting the exchange ends every session.

use std::collections::HashMap;

use holdfast_base::{PrincipalId, Sensitive, SessionId, Timestamp, fill_random};
use holdfast_ledger::{Actor, Entry, Event};
use parking_lot::Mutex;

use super::accounts::pretend_to_check;
use crate::state::Exchange;
use crate::{Caller, ExchangeError};

/// Signed out after so long without a request (45 CFR 164.312(a)(2)(iii)).
const IDLE_MS: i64 = 15 * 60_000;
/// Signed out after so long in any case: one working day.
const LIFE_MS: i64 = 10 * 3_600_000;
/// Wrong attempts before an account has to wait.
const ATTEMPTS_FREE: u32 = 5;
/// Wrong attempts before an address has to wait: a whole practice may share one.
const ATTEMPTS_FREE_ADDRESS: u32 = 20;
/// The wait doubles with each further wrong attempt, up to this.
const WAIT_MS_MAX: i64 = 15 * 60_000;
/// Passwords that are checked at once: each takes 19 MiB and a core.
const CHECKS_AT_ONCE: usize = 4;
/// Time step of TOTP codes (RFC 6238 section 4.1), milliseconds.
const TOTP_STEP_MS: i64 = 30_000;

/// A session that was just opened.
pub struct SignedIn {
    /// The bearer token. Held nowhere else.
    pub token: Sensitive<String>,
    /// Who signed in.
    pub caller: Caller,
    /// When the session ends at the latest.
    pub expires: Timestamp,
}

struct Session {
    caller: Caller,
    last_used: Timestamp,
    expires: Timestamp,
}

#[derive(Default, Clone, Copy)]
struct Failures {
    count: u32,
    not_before: Timestamp,
}

/// Live sessions, failed attempts and used codes.
pub(crate) struct Sessions {
    checking: tokio::sync::Semaphore,
    live: Mutex<HashMap<[u8; 16], Session>>,
    /// Sessions that ended since the start, so that a scope can be asked for by
    /// the token that was stolen.
    ended: Mutex<HashMap<[u8; 16], SessionId>>,
    failures: Mutex<HashMap<String, Failures>>,
    used_steps: Mutex<HashMap<PrincipalId, i64>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            checking: tokio::sync::Semaphore::new(CHECKS_AT_ONCE),
            live: Mutex::default(),
            ended: Mutex::default(),
            failures: Mutex::default(),
            used_steps: Mutex::default(),
        }
    }
}

impl Sessions {
    fn wait_ms(&self, key: &str, now: Timestamp) -> i64 {
        let failures = self.failures.lock();
        failures.get(key).map_or(0, |f| f.not_before.millis_since(now).max(0))
    }

    fn failed(&self, key: &str, now: Timestamp) {
        let mut failures = self.failures.lock();
        let entry = failures.entry(key.to_owned()).or_default();
        entry.count += 1;
        let free = if key.starts_with("address:") { ATTEMPTS_FREE_ADDRESS } else { ATTEMPTS_FREE };
        if let Some(over) = entry.count.checked_sub(free) {
            let wait_ms = (1_000_i64 << over.min(20)).min(WAIT_MS_MAX);
            entry.not_before = now.plus_millis(wait_ms);
        }
    }

    fn succeeded(&self, key: &str) {
        self.failures.lock().remove(key);
    }

    /// Whether the code of `step` is used for the first time; remembers it.
    fn first_use(&self, id: &PrincipalId, step: i64) -> bool {
        let mut used = self.used_steps.lock();
        let last = used.entry(id.clone()).or_insert(-1);
        let fresh = step > *last;
        if fresh {
            *last = step;
        }
        fresh
    }

    /// Ends every session of `principal`; gives their ids.
    pub fn revoke(&self, principal: &PrincipalId) -> Vec<SessionId> {
        self.end_where(|session| session.caller.id() == principal)
    }

    fn end_where(&self, over: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let mut live = self.live.lock();
        let gone = live.iter().filter(|(_, session)| over(session));
        let gone: Vec<_> = gone.map(|(digest, s)| (*digest, s.caller.session)).collect();
        live.retain(|_, session| !over(session));
        self.ended.lock().extend(gone.iter().copied());
        gone.into_iter().map(|(_, session)| session).collect()
    }

    /// Ends what is past its time; gives the sessions' ids.
    pub fn sweep(&self, now: Timestamp) -> Vec<SessionId> {
        self.end_where(|s| now >= s.expires || now.millis_since(s.last_used) >= IDLE_MS)
    }
}

impl Exchange {
    /// Signs a person in with password and TOTP code.
    ///
    /// # Errors
    /// [`ExchangeError::NotSignedIn`] whichever part is wrong,
    /// [`ExchangeError::Throttled`] after several wrong attempts,
    /// [`ExchangeError::Suspended`] only when password and code are right.
    pub async fn sign_in(
        &self,
        name: &str,
        password: &Sensitive<String>,
        code: &str,
        address: Option<&str>,
    ) -> Result<SignedIn, ExchangeError> {
        let now = self.now();
        let keys = [format!("name:{name}"), format!("address:{}", address.unwrap_or("-"))];
        let waits = keys.iter().map(|key| self.sessions().wait_ms(key, now));
        let wait_ms = waits.max().unwrap_or(0);
        if wait_ms > 0 {
            self.refuse_sign_in(name, address, "throttled").await?;
            let wait_seconds = (wait_ms as u64).div_ceil(1000);
            return Err(ExchangeError::Throttled { wait_seconds });
        }
        let account = PrincipalId::new(name).ok().and_then(|id| self.account(&id));
        let _turn = self.sessions().checking.acquire().await;
        let checked = account.clone();
        let given = password.clone();
        let password_fits = tokio::task::spawn_blocking(move || match checked {
            Some(account) if account.password_hash.is_some() => {
                account.password_fits(given.expose())
            }
            _ => {
                pretend_to_check(given.expose());
                false
            }
        })
        .await
        .unwrap_or(false);
        let secret = account.as_ref().and_then(|a| a.totp_secret.clone()).unwrap_or_default();
        let step = matching_step(&secret, code.trim(), now);
        let Some(account) = account.filter(|_| password_fits && step.is_some()) else {
            keys.iter().for_each(|key| self.sessions().failed(key, now));
            self.refuse_sign_in(name, address, "wrong-credentials").await?;
            return Err(ExchangeError::NotSignedIn);
        };
        if !step.is_some_and(|step| self.sessions().first_use(&account.id, step)) {
            self.refuse_sign_in(name, address, "code-used-before").await?;
            return Err(ExchangeError::NotSignedIn);
        }
        keys.iter().for_each(|key| self.sessions().succeeded(key));
        if account.suspended.is_some() {
            self.refuse_sign_in(name, address, "suspended").await?;
            return Err(ExchangeError::Suspended);
        }
        let caller = caller_of(&account, address);
        let mut random = [0; 32];
        fill_random(&mut random);
        let token = data_encoding::BASE64URL_NOPAD.encode(&random);
        let expires = now.plus_millis(LIFE_MS);
        let session = Session { caller: caller.clone(), last_used: now, expires };
        self.append_session(&caller, "opened").await?;
        self.sessions().live.lock().insert(self.token_digest(&token), session);
        Ok(SignedIn { token: token.into(), caller, expires })
    }

    /// Who a bearer token stands for.
    ///
    /// # Errors
    /// [`ExchangeError::NotSignedIn`] when it is unknown, too old, or comes from
    /// another address than the one that it was given to; the last is also in the
    /// ledger.
    pub async fn authenticate_token(
        &self,
        token: &str,
        address: Option<&str>,
    ) -> Result<Caller, ExchangeError> {
        let now = self.now();
        let caller = {
            let mut live = self.sessions().live.lock();
            let session = live.get_mut(&self.token_digest(token));
            let session = session.filter(|session| {
                now < session.expires && now.millis_since(session.last_used) < IDLE_MS
            });
            let session = session.ok_or(ExchangeError::NotSignedIn)?;
            session.last_used = now;
            session.caller.clone()
        };
        if caller.address.as_deref() != address {
            let actor = Actor { address: address.map(str::to_owned), ..caller.actor() };
            self.append_refusal(actor, "token", "other-address").await?;
            return Err(ExchangeError::NotSignedIn);
        }
        self.refuse_suspended(&caller)?;
        Ok(caller)
    }

    /// Who a client certificate stands for. The door has verified the chain and
    /// that the peer holds the key.
    ///
    /// # Errors
    /// [`ExchangeError::NotSignedIn`] when no system has this certificate.
    pub async fn authenticate_system(
        &self,
        certificate_sha256: &[u8; 32],
        address: Option<&str>,
    ) -> Result<Caller, ExchangeError> {
        let account = self.accounts().find(|a| a.certificate.as_ref() == Some(certificate_sha256));
        match account {
            Some(account) if account.suspended.is_none() => Ok(caller_of(&account, address)),
            Some(_) => Err(ExchangeError::Suspended),
            None => {
                let actor = self.nobody(address);
                self.append_refusal(actor, "token", "unknown-certificate").await?;
                Err(ExchangeError::NotSignedIn)
            }
        }
    }

    /// Ends the session that `token` stands for.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn sign_out(&self, token: &str) -> Result<(), ExchangeError> {
        let digest = self.token_digest(token);
        let gone = self.sessions().live.lock().remove(&digest);
        match gone {
            Some(session) => {
                self.sessions().ended.lock().insert(digest, session.caller.session);
                self.keyring().drop_session(session.caller.session);
                self.append_session(&session.caller, "closed").await
            }
            None => Ok(()),
        }
    }

    /// The session that a token stands for, or stood for since the exchange was
    /// started.
    pub fn session_of_token(&self, token: &str) -> Option<SessionId> {
        let digest = self.token_digest(token);
        let live = self.sessions().live.lock().get(&digest).map(|s| s.caller.session);
        live.or_else(|| self.sessions().ended.lock().get(&digest).copied())
    }

    fn token_digest(&self, token: &str) -> [u8; 16] {
        self.tokens().token("session-token", token.as_bytes())
    }

    async fn append_session(&self, caller: &Caller, change: &str) -> Result<(), ExchangeError> {
        let event = Event::Session { change: change.into() };
        let entry = Entry { at: self.now(), actor: caller.actor(), request: None, event };
        Ok(self.keeper().append(vec![entry]).await.map(drop)?)
    }

    /// A wrong attempt is an entry. The name that was typed is the actor only
    /// when it is an account's: what people mistype may be a password.
    async fn refuse_sign_in(
        &self,
        name: &str,
        address: Option<&str>,
        reason: &str,
    ) -> Result<(), ExchangeError> {
        let mut actor = self.nobody(address);
        if let Some(account) = PrincipalId::new(name).ok().and_then(|id| self.account(&id)) {
            actor.principal = account.id;
            actor.organization = Some(account.organization);
        }
        self.append_refusal(actor, "sign-in", reason).await
    }
}

fn caller_of(account: &super::Account, address: Option<&str>) -> Caller {
    Caller {
        principal: account.principal(),
        display_name: account.display_name.clone(),
        npi: account.npi.clone(),
        session: SessionId::random(),
        address: address.map(str::to_owned),
    }
}

/// The time step whose code this is: the present one or a neighbour (RFC 6238
/// section 5.2).
fn matching_step(secret: &str, code: &str, now: Timestamp) -> Option<i64> {
    if code.len() != 6 || secret.is_empty() {
        return None;
    }
    let present = now.millis() / TOTP_STEP_MS;
    [0, -1, 1].into_iter().map(|offset| present + offset).find(|step| {
        let expected = crate::totp::code(secret, (*step).max(0) as u64 * 30);
        expected.is_some_and(|expected| same_digits(&expected, code))
    })
}

/// Compares without telling by its time where the first difference is.
fn same_digits(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}
