//! Asking about people: principals, sessions, bulk grants.

use holdfast_base::{PrincipalId, RequestId, Sensitive, SessionId};
use zeroize::Zeroizing;

use super::{KeeperClient, unexpected};
use crate::error::KeeperError;
use crate::people::{
    ImportedPrincipal, NewPrincipal, OpenedSession, Proof, Secrets, SessionFacts, SessionToken,
};
use crate::process::rotation::SecretBytes;
use crate::process::{BulkGrant, GrantProposal};
use crate::protocol::{Answer, GrantStep, Request, WireSecrets, WireSignIn};

impl KeeperClient {
    /// Makes a principal; gives a person's secrets out, once. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError::Taken`], [`KeeperError::Malformed`] for a name that many would
    /// share; [`KeeperError::NotPermitted`] unless an administrator asks, or there is
    /// none and this is the first.
    pub async fn enrol(&self, proof: &Proof, new: &NewPrincipal) -> Result<Secrets, KeeperError> {
        let (proof, new) = (proof.clone(), new.clone());
        secrets(self.ask(Request::Enrol { proof, new }).await?)
    }

    /// Takes the principals of an older exchange, while the keeper has none. In the
    /// ledger.
    ///
    /// # Errors
    /// [`KeeperError::NotPermitted`] when it has some.
    pub async fn import(&self, principals: Vec<ImportedPrincipal>) -> Result<(), KeeperError> {
        self.done(Request::Import { principals }).await
    }

    /// Gives a person new secrets, or a system another certificate; its sessions end.
    /// In the ledger.
    ///
    /// # Errors
    /// [`KeeperError::UnknownPrincipal`], [`KeeperError::NotPermitted`].
    pub async fn reset_secrets(
        &self,
        proof: &Proof,
        principal: &PrincipalId,
        certificate: Option<[u8; 32]>,
    ) -> Result<Secrets, KeeperError> {
        let (proof, principal) = (proof.clone(), principal.clone());
        secrets(self.ask(Request::ResetSecrets { proof, principal, certificate }).await?)
    }

    /// Gives an administrator new secrets, by the passphrase or PIN that opens the root;
    /// for an exchange whose administrators have lost theirs. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError::WrongPassphrase`]; [`KeeperError::UnknownPrincipal`];
    /// [`KeeperError::NotPermitted`] for whoever is no administrator.
    pub async fn recover_administrator(
        &self,
        secret: &[u8],
        principal: &PrincipalId,
    ) -> Result<Secrets, KeeperError> {
        let (secret, principal) = (SecretBytes::of(secret), principal.clone());
        secrets(self.ask(Request::RecoverAdministrator { secret, principal }).await?)
    }

    /// Closes a principal for good; its sessions end. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError::UnknownPrincipal`], [`KeeperError::NotPermitted`], also for the
    /// last administrator.
    pub async fn close_principal(
        &self,
        proof: &Proof,
        principal: &PrincipalId,
    ) -> Result<(), KeeperError> {
        let (proof, principal) = (proof.clone(), principal.clone());
        self.done(Request::ClosePrincipal { proof, principal }).await
    }

    /// Opens the session of a person, by password and TOTP code. In the ledger, like
    /// every attempt that is refused.
    ///
    /// # Errors
    /// [`KeeperError::NotSignedIn`] whichever part is wrong, [`KeeperError::Throttled`],
    /// [`KeeperError::Suspended`] only when password and code are right.
    pub async fn open_session(
        &self,
        name: &str,
        password: &Sensitive<String>,
        code: &str,
        address: Option<&str>,
    ) -> Result<OpenedSession, KeeperError> {
        let shown = WireSignIn {
            name: name.to_owned(),
            password: Zeroizing::new(password.expose().clone()),
            code: code.to_owned(),
            address: address.map(str::to_owned),
        };
        opened(self.ask(Request::OpenSession(shown)).await?)
    }

    /// Opens a session of the system that has this certificate (SHA-256), whose TLS the
    /// caller has verified. In the ledger, as vouched for.
    ///
    /// # Errors
    /// [`KeeperError::NotSignedIn`] when no system has it, [`KeeperError::Suspended`].
    pub async fn vouch_system(
        &self,
        certificate: &[u8; 32],
        address: Option<&str>,
    ) -> Result<OpenedSession, KeeperError> {
        let (certificate, address) = (*certificate, address.map(str::to_owned));
        opened(self.ask(Request::Vouch { certificate, address }).await?)
    }

    /// Whose session it is, while it lives. Counts as a use of it.
    ///
    /// # Errors
    /// [`KeeperError::NotSignedIn`], [`KeeperError::Suspended`].
    pub async fn check_session(&self, proof: &Proof) -> Result<SessionFacts, KeeperError> {
        match self.ask(Request::CheckSession { proof: proof.clone() }).await? {
            Answer::Session(facts) => Ok(facts),
            other => Err(unexpected(other)),
        }
    }

    /// Ends a session. In the ledger, when it lived.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn close_session(&self, proof: &Proof) -> Result<(), KeeperError> {
        self.done(Request::CloseSession { proof: proof.clone() }).await
    }

    /// The session that a token proves, or proved up to a day after its end.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn find_session(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionId>, KeeperError> {
        match self.ask(Request::FindSession { token: token.clone() }).await? {
            Answer::Found(session) => Ok(session),
            other => Err(unexpected(other)),
        }
    }

    /// Proposes a bulk grant; it waits for a second person. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError::NotPermitted`], [`KeeperError::Malformed`].
    pub async fn propose_grant(
        &self,
        proof: &Proof,
        proposal: GrantProposal,
    ) -> Result<RequestId, KeeperError> {
        let (proof, step) = (proof.clone(), GrantStep::Propose(proposal));
        match self.ask(Request::Grant { proof, step }).await? {
            Answer::Grant(grant) => Ok(grant),
            other => Err(unexpected(other)),
        }
    }

    /// Approves a bulk grant that waits: from now on its ceiling is the budget of its
    /// principal. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError::OwnCase`] for who proposed it or is to use it,
    /// [`KeeperError::UnknownGrant`], [`KeeperError::NotPermitted`].
    pub async fn approve_grant(&self, proof: &Proof, grant: RequestId) -> Result<(), KeeperError> {
        let (proof, step) = (proof.clone(), GrantStep::Approve(grant));
        self.done(Request::Grant { proof, step }).await
    }

    /// Ends a bulk grant before its time. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError::UnknownGrant`], [`KeeperError::NotPermitted`].
    pub async fn revoke_grant(
        &self,
        proof: &Proof,
        grant: RequestId,
        reason: &str,
    ) -> Result<(), KeeperError> {
        let step = GrantStep::Revoke(grant, reason.to_owned());
        self.done(Request::Grant { proof: proof.clone(), step }).await
    }

    /// The bulk grants that wait or live, and that whoever asks may see.
    ///
    /// # Errors
    /// [`KeeperError::NotPermitted`].
    pub async fn grants(&self, proof: &Proof) -> Result<Vec<BulkGrant>, KeeperError> {
        match self.ask(Request::Grants { proof: proof.clone() }).await? {
            Answer::Grants(grants) => Ok(grants),
            other => Err(unexpected(other)),
        }
    }
}

fn secrets(answer: Answer) -> Result<Secrets, KeeperError> {
    match answer {
        Answer::Secrets(WireSecrets { password, totp_secret }) => Ok(Secrets {
            password: password.to_string().into(),
            totp_secret: totp_secret.to_string().into(),
        }),
        other => Err(unexpected(other)),
    }
}

fn opened(answer: Answer) -> Result<OpenedSession, KeeperError> {
    match answer {
        Answer::Opened { token, facts } => Ok(OpenedSession { token, facts }),
        other => Err(unexpected(other)),
    }
}
