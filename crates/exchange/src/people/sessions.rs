//! Signing in and staying signed in.
//!
//! The keeper checks secrets, opens sessions and ends them; a bearer token is the
//! secret that proves a session to it. Held here are digests of tokens, so that not
//! every request has to ask, and for systems, for whose certificates the exchange
//! vouches, the tokens of their sessions. Each token is bound to the network address
//! that it was given to.

use std::collections::HashMap;

use holdfast_base::{OrganizationId, PrincipalId, Sensitive, SessionId, Timestamp};
use holdfast_keeper::{OpenedSession, Proof, SessionFacts, SessionToken};
use holdfast_ledger::Actor;
use holdfast_policy::{Principal, Role};
use parking_lot::Mutex;

use super::Account;
use crate::caller::Shown;
use crate::state::Exchange;
use crate::{Caller, ExchangeError};

/// How long the keeper's word about a session is good for: its idle limit is counted
/// from the last time that it was asked.
const CHECKED_MS: i64 = 60_000;
/// What was not used for so long is let go here; whether the session is over is the
/// keeper's to say.
const IDLE_MS: i64 = 15 * 60_000;

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
    facts: SessionFacts,
    checked: Timestamp,
    last_used: Timestamp,
}

struct Vouched {
    token: SessionToken,
    facts: SessionFacts,
}

type ShownBy = ([u8; 32], Option<String>);

/// Live sessions, as far as they were seen here.
#[derive(Default)]
pub(crate) struct Sessions {
    live: Mutex<HashMap<[u8; 32], Session>>,
    /// By certificate and address.
    vouched: Mutex<HashMap<ShownBy, Vouched>>,
}

impl Sessions {
    /// Forgets every session of `principal`; gives their ids.
    pub fn revoke(&self, principal: &PrincipalId) -> Vec<SessionId> {
        self.vouched.lock().retain(|_, vouched| vouched.facts.principal != *principal);
        self.forget_where(|session| session.facts.principal == *principal)
    }

    /// Forgets every session of those who work for `organization`; gives their ids.
    pub fn revoke_of(&self, organization: &OrganizationId) -> Vec<SessionId> {
        self.vouched.lock().retain(|_, vouched| vouched.facts.organization != *organization);
        self.forget_where(|session| session.facts.organization == *organization)
    }

    fn forget_where(&self, over: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let mut live = self.live.lock();
        let gone = live.values().filter(|session| over(session));
        let gone = gone.map(|session| session.facts.session).collect();
        live.retain(|_, session| !over(session));
        gone
    }

    /// Forgets what is past its time; gives the sessions' ids.
    pub fn sweep(&self, now: Timestamp) -> Vec<SessionId> {
        self.vouched.lock().retain(|_, vouched| now < vouched.facts.expires);
        self.forget_where(|session| {
            now >= session.facts.expires || now.millis_since(session.last_used) >= IDLE_MS
        })
    }

    /// What the keeper said of this session, if that is still good.
    fn checked(&self, digest: &[u8; 32], now: Timestamp) -> Option<SessionFacts> {
        let mut live = self.live.lock();
        let session = live.get_mut(digest)?;
        let age_ms = now.millis_since(session.checked);
        let good = now < session.facts.expires && (0..CHECKED_MS).contains(&age_ms);
        good.then(|| {
            session.last_used = now;
            session.facts.clone()
        })
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
        let opened = self.keeper().open_session(name, password, code, address).await?;
        let OpenedSession { token, facts } = opened;
        let account = self.account(&facts.principal).ok_or(ExchangeError::NotSignedIn)?;
        let (now, expires) = (self.now(), facts.expires);
        let caller = caller_of(&account, &facts, Shown::Token(token.clone()))?;
        let session = Session { facts, checked: now, last_used: now };
        self.sessions().live.lock().insert(token.digest(), session);
        Ok(SignedIn { token: token.to_text(), caller, expires })
    }

    /// Who a bearer token stands for.
    ///
    /// # Errors
    /// [`ExchangeError::NotSignedIn`] when it is unknown, too old, or comes from
    /// another address than the one that it was given to; the last is also in the
    /// ledger. [`ExchangeError::KeeperAway`] when the keeper has to be asked.
    pub async fn authenticate_token(
        &self,
        token: &str,
        address: Option<&str>,
    ) -> Result<Caller, ExchangeError> {
        let token = SessionToken::parse(token).ok_or(ExchangeError::NotSignedIn)?;
        let digest = token.digest();
        let now = self.now();
        let facts = match self.sessions().checked(&digest, now) {
            Some(facts) => facts,
            None => {
                let known = self.sessions().live.lock().get(&digest).map(|s| s.facts.clone());
                let bound = known.map_or(address.map(str::to_owned), |facts| facts.address);
                let proof = Proof::session(token.clone(), bound.as_deref());
                let checked = self.keeper().check_session(&proof).await;
                if checked.is_err()
                    && let Some(gone) = self.sessions().live.lock().remove(&digest)
                {
                    self.keyring().drop_session(gone.facts.session, self.now());
                }
                let facts = checked?;
                let session = Session { facts: facts.clone(), checked: now, last_used: now };
                self.sessions().live.lock().insert(digest, session);
                facts
            }
        };
        let account = self.account(&facts.principal).ok_or(ExchangeError::NotSignedIn)?;
        let caller = caller_of(&account, &facts, Shown::Token(token))?;
        if caller.address.as_deref() != address {
            let actor = Actor { address: address.map(str::to_owned), ..caller.actor() };
            self.append_refusal(actor, "token", "other-address").await?;
            return Err(ExchangeError::NotSignedIn);
        }
        self.refuse_suspended(&caller)?;
        Ok(caller)
    }

    /// Who a client certificate stands for. The door has verified the chain and
    /// that the peer holds the key; the exchange vouches for it to the keeper, which
    /// the ledger says. While the keeper is away a system may still send.
    ///
    /// # Errors
    /// [`ExchangeError::NotSignedIn`] when no system has this certificate.
    pub async fn authenticate_system(
        &self,
        certificate_sha256: &[u8; 32],
        address: Option<&str>,
    ) -> Result<Caller, ExchangeError> {
        let account = self.accounts().find(|a| a.certificate.as_ref() == Some(certificate_sha256));
        let Some(account) = account else {
            let actor = self.nobody(address);
            self.append_refusal(actor, "token", "unknown-certificate").await?;
            return Err(ExchangeError::NotSignedIn);
        };
        if account.suspended.is_some() || self.is_suspended(&account.organization) {
            return Err(ExchangeError::Suspended);
        }
        let shown = Shown::Certificate(*certificate_sha256);
        match self.vouch(certificate_sha256, address).await {
            Ok((_, facts)) => caller_of(&account, &facts, shown),
            Err(ExchangeError::KeeperAway) => Ok(Caller {
                principal: account.principal(),
                display_name: account.display_name.clone(),
                npi: account.npi.clone(),
                session: SessionId::random(),
                address: address.map(str::to_owned),
                shown,
            }),
            Err(error) => Err(error),
        }
    }

    /// The session of a system, opened when there is none.
    async fn vouch(
        &self,
        certificate: &[u8; 32],
        address: Option<&str>,
    ) -> Result<(SessionToken, SessionFacts), ExchangeError> {
        let key = (*certificate, address.map(str::to_owned));
        let now = self.now();
        if let Some(vouched) = self.sessions().vouched.lock().get(&key)
            && now < vouched.facts.expires
        {
            return Ok((vouched.token.clone(), vouched.facts.clone()));
        }
        let OpenedSession { token, facts } =
            self.keeper().vouch_system(certificate, address).await?;
        let vouched = Vouched { token: token.clone(), facts: facts.clone() };
        self.sessions().vouched.lock().insert(key, vouched);
        Ok((token, facts))
    }

    /// Forgets the vouched session of a system that the keeper does not know any more;
    /// whether there was one.
    pub(crate) fn forget_vouched(&self, caller: &Caller) -> bool {
        let Shown::Certificate(certificate) = caller.shown else { return false };
        let key = (certificate, caller.address.clone());
        self.sessions().vouched.lock().remove(&key).is_some()
    }

    /// What the keeper is shown when it is asked in the caller's name.
    pub(crate) async fn proof_of(&self, caller: &Caller) -> Result<Proof, ExchangeError> {
        let address = caller.address.as_deref();
        Ok(match &caller.shown {
            Shown::Token(token) => Proof::session(token.clone(), address),
            Shown::Certificate(certificate) => {
                let (token, _) = self.vouch(certificate, address).await?;
                Proof::session(token, address)
            }
            Shown::SetUp => Proof::set_up(caller.id().clone()),
            Shown::Nothing => Proof::front(),
        })
    }

    /// Ends the session that `token` stands for.
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub async fn sign_out(&self, token: &str) -> Result<(), ExchangeError> {
        let Some(token) = SessionToken::parse(token) else { return Ok(()) };
        let gone = self.sessions().live.lock().remove(&token.digest());
        let address = gone.as_ref().and_then(|session| session.facts.address.clone());
        if let Some(session) = gone {
            self.keyring().drop_session(session.facts.session, self.now());
        }
        Ok(self.keeper().close_session(&Proof::session(token, address.as_deref())).await?)
    }

    /// The session that a token stands for, or stood for up to a day after its end.
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub async fn session_of_token(&self, token: &str) -> Result<Option<SessionId>, ExchangeError> {
        match SessionToken::parse(token) {
            Some(token) => Ok(self.keeper().find_session(&token).await?),
            None => Ok(None),
        }
    }
}

/// The caller of a session: role and organization are the keeper's word.
fn caller_of(
    account: &Account,
    facts: &SessionFacts,
    shown: Shown,
) -> Result<Caller, ExchangeError> {
    let role = Role::from_name(&facts.role);
    Ok(Caller {
        principal: Principal {
            id: facts.principal.clone(),
            organization: facts.organization.clone(),
            role: role.ok_or(ExchangeError::Internal("the keeper names an unknown role"))?,
            patient: account.patient.clone(),
        },
        display_name: account.display_name.clone(),
        npi: account.npi.clone(),
        session: facts.session,
        address: facts.address.clone(),
        shown,
    })
}
