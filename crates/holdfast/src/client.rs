//! Talking to a running exchange through its doors, as anybody would.

use std::path::Path;
use std::time::Duration;

use holdfast_base::{Clock, Sensitive};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::failure::Failure;
use crate::tls::Identity;

/// Longest wait for an answer. Drafting letters for thousands takes its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Time step of TOTP codes, seconds.
const TOTP_STEP_S: u64 = 30;

/// How a person signs in, as the demo prints it once and a file may keep it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credential {
    /// Sign-in name.
    pub user: String,
    /// The person's name.
    pub name: String,
    /// Where the person works.
    pub organization: String,
    /// The person's role.
    pub role: String,
    /// Password.
    pub password: String,
    /// TOTP secret, base 32.
    pub totp_secret: String,
}

/// A credentials file (`demo --credentials FILE`).
#[derive(Default, Serialize, Deserialize)]
pub struct Credentials {
    /// Everybody in it.
    #[serde(default)]
    pub people: Vec<Credential>,
}

impl Credentials {
    /// Reads a credentials file.
    ///
    /// # Errors
    /// When it cannot be read or is no such file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
        toml::from_str(&text)
            .map_err(|_| Failure::new(format!("{} is no credentials file", path.display())))
    }

    /// Writes the file so that only its owner can read it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(|e| Failure::new(e.to_string()))?;
        write_private(path, text.as_bytes())
    }

    /// The first person with this role.
    pub fn with_role(&self, role: &str) -> Option<&Credential> {
        self.people.iter().find(|person| person.role == role)
    }

    /// The person with this sign-in name.
    pub fn of_user(&self, user: &str) -> Option<&Credential> {
        self.people.iter().find(|person| person.user == user)
    }
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| Failure::io("write", path, &error))
}

/// Secrets next to the data they open would make the sealing worthless.
///
/// # Errors
/// When `path` lies in the data folder.
pub fn refuse_inside(dir: &Path, path: &Path) -> Result<(), Failure> {
    let absolute = |p: &Path| std::path::absolute(p).unwrap_or_else(|_| p.to_owned());
    if absolute(path).starts_with(absolute(dir)) {
        return Err(Failure::new(format!(
            "{} lies in the data folder: whoever steals one would have both",
            path.display()
        )));
    }
    Ok(())
}

/// A connection to an exchange, signed in or not.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<Sensitive<String>>,
}

/// An answer: status and body.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            Failure::new(format!("the exchange answered {} without JSON", self.status))
        })
    }

    /// The answer, or what the exchange says is wrong.
    ///
    /// # Errors
    /// For every status but 2xx.
    pub fn accepted(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let told = self.json().ok().and_then(|body| {
            let outcome = body["issue"][0]["diagnostics"].as_str().map(str::to_owned);
            outcome.or_else(|| body["error"].as_str().map(str::to_owned))
        });
        let told = told.unwrap_or_else(|| "no reason given".into());
        Err(Failure::new(format!("the exchange refused ({}): {told}", self.status)))
    }
}

impl Client {
    /// A client of the exchange whose data folder is `dir`, on this machine.
    ///
    /// # Errors
    /// When the folder has no certificate: it is no data folder, or nothing was
    /// ever served from it.
    pub fn of_folder(dir: &Path, config: &Config) -> Result<Self, Failure> {
        Self::build(dir, config, None)
    }

    /// A client that shows a system's certificate.
    ///
    /// # Errors
    /// As [`of_folder`](Self::of_folder).
    pub fn of_system(dir: &Path, config: &Config, identity: &Identity) -> Result<Self, Failure> {
        Self::build(dir, config, Some(identity))
    }

    fn build(dir: &Path, config: &Config, identity: Option<&Identity>) -> Result<Self, Failure> {
        crate::wiring::install_tls_provider();
        let path = crate::tls::authority_path(dir);
        let pem = std::fs::read(&path).map_err(|error| Failure::io("read", &path, &error))?;
        let authority = reqwest::Certificate::from_pem(&pem)
            .map_err(|_| Failure::new(format!("{} is no certificate", path.display())))?;
        let mut builder = reqwest::Client::builder()
            .tls_certs_only([authority])
            .timeout(ANSWER_TIMEOUT)
            .no_proxy();
        if let Some(identity) = identity {
            let pem = format!("{}{}", identity.key_pem.expose(), identity.certificate_pem);
            let identity = reqwest::Identity::from_pem(pem.as_bytes())
                .map_err(|_| Failure::new("the client certificate cannot be used"))?;
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|error| Failure::new(error.to_string()))?;
        let host = if config.https.ip().is_unspecified() {
            "localhost".into()
        } else {
            config.https.ip().to_string()
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(Self { http, base: format!("https://{host}:{}", config.https.port()), token: None })
    }

    /// The same client with a token that somebody else got.
    #[must_use]
    pub fn with_token(mut self, token: Sensitive<String>) -> Self {
        self.token = Some(token);
        self
    }

    /// The exchange's base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The token, when signed in.
    pub fn token(&self) -> Option<&Sensitive<String>> {
        self.token.as_ref()
    }

    /// Signs in with what is given.
    ///
    /// # Errors
    /// When the exchange refuses or does not answer.
    pub async fn sign_in(self, user: &str, password: &str, code: &str) -> Result<Self, Failure> {
        let body = serde_json::json!({"user": user, "password": password, "code": code});
        let answer = self.post_json("/auth/token", &body).await?.accepted()?.json()?;
        let token =
            answer["access_token"].as_str().ok_or(Failure::new("the exchange gave no token"))?;
        Ok(self.with_token(token.to_owned().into()))
    }

    /// Signs in from a credentials file. A code works once: when the present one was
    /// used already, shows the next, which the keeper takes as well, or waits.
    ///
    /// # Errors
    /// When the exchange refuses or does not answer.
    pub async fn sign_in_as(self, person: &Credential, clock: &dyn Clock) -> Result<Self, Failure> {
        for waited in [false, true] {
            let seconds = (clock.now().millis() / 1000).unsigned_abs();
            for ahead_s in [0, TOTP_STEP_S] {
                let code = holdfast_exchange::totp::code(&person.totp_secret, seconds + ahead_s)
                    .ok_or_else(|| Failure::new("the credentials file has a broken TOTP secret"))?;
                match self.clone().sign_in(&person.user, &person.password, &code).await {
                    Err(failure) if !failure.to_string().contains("(401)") => return Err(failure),
                    Err(failure) if waited && ahead_s > 0 => return Err(failure),
                    Err(_) => {}
                    signed_in => return signed_in,
                }
            }
            let wait_s = TOTP_STEP_S - seconds % TOTP_STEP_S + 1;
            eprintln!("waiting {wait_s} s for a fresh code (each works once)");
            tokio::time::sleep(Duration::from_secs(wait_s)).await;
        }
        Err(Failure::new("could not sign in"))
    }

    /// GET.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    /// POST with a JSON body.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn post_json(&self, path: &str, body: &serde_json::Value) -> Result<Answer, Failure> {
        self.send(self.http.post(format!("{}{path}", self.base)).json(body)).await
    }

    /// POST with any body.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Answer, Failure> {
        let request = self.http.post(format!("{}{path}", self.base));
        self.send(request.header("content-type", content_type).body(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let unreachable = |error: reqwest::Error| {
            let why = if error.is_timeout() {
                "it took too long"
            } else {
                "is it running? `holdfast serve`"
            };
            Failure::new(format!("no answer from the exchange at {}: {why}", self.base))
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(unreachable)?.to_vec();
        Ok(Answer { status, body })
    }
}
