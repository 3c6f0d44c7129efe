//! The server's own secrets (its TLS key, its certificate authority), sealed like
//! everything else: a stolen folder cannot impersonate the exchange.

use holdfast_base::Sensitive;

use crate::ExchangeError;
use crate::state::Exchange;
use crate::system::Kind;

impl Exchange {
    /// Keeps a secret under a name of ours.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_secret(
        &self,
        name: &str,
        secret: &Sensitive<String>,
    ) -> Result<(), ExchangeError> {
        self.save_system(Kind::Secret, name, secret.expose()).await
    }

    /// Opens a secret.
    ///
    /// # Errors
    /// When the row cannot be read or does not open.
    pub fn secret(&self, name: &str) -> Result<Option<Sensitive<String>>, ExchangeError> {
        Ok(self.load_system::<String>(Kind::Secret, name)?.map(Sensitive::new))
    }
}
