//! A keeper on a host of its own: the same protocol over TCP, with mutual TLS.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::time::Duration;

use common::{Keeper, principal};
use holdfast_keeper::{
    KeeperAddress, KeeperClient, KeeperConfig, KeeperError, Proof, StartError, TcpListen,
    TlsIdentity,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Shows a certificate of this authority, and believes `other`.
    fn identity(&self, host: &str, other: &Authority) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        TlsIdentity {
            certificate_pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key_pem: key.serialize_pem().into(),
            authority_pem: other.pem.clone(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_on_its_own_host_hears_only_who_shows_a_certificate_of_the_authority() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let mut keeper = Keeper::start().await;
    keeper.stop().await;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let identity = ours.identity("localhost", &ours);
    let tcp = Some(TcpListen { address, identity });
    keeper.resume_with(KeeperConfig { tcp, ..keeper.config() }).await;
    let client = |host: &str, identity| {
        let address = format!("{host}:{}", address.port());
        let address = KeeperAddress::Tcp { address, identity };
        KeeperClient::with_timeout(address, Duration::from_secs(30))
    };
    let front = client("localhost", ours.identity("front", &ours));
    let set_up = Proof::set_up(principal("set-up:test"));
    front.create_organization(&set_up, &common::lakeside()).await.unwrap();
    assert_eq!(front.status().await.unwrap().organizations, [common::lakeside()]);

    // Whose certificate another authority signed is not heard.
    let stranger = client("localhost", strangers.identity("front", &ours));
    let refused = stranger.status().await.unwrap_err();
    assert!(
        matches!(refused, KeeperError::Unreachable | KeeperError::Protocol { .. }),
        "{refused}"
    );
    // A keeper whose certificate another authority signed, or for another host, is not
    // believed.
    for wary in [
        client("localhost", ours.identity("front", &strangers)),
        client("127.0.0.1", ours.identity("front", &ours)),
    ] {
        let refused = wary.status().await.unwrap_err();
        assert!(matches!(refused, KeeperError::Protocol { .. }), "{refused}");
    }
    // Without TLS nothing is heard either.
    let plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.writable().await.unwrap();
    let _ = plain.try_write(&[0, 0, 0, 10, 2, 0, 0, 0, 0, 0, 0, 0, 7, 10]);
    assert!(front.status().await.is_ok());
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_cannot_be_used_are_named() {
    let keeper = Keeper::start().await;
    let mut keeper = keeper;
    keeper.stop().await;
    let broken = TlsIdentity {
        certificate_pem: "none".to_owned(),
        key_pem: String::new().into(),
        authority_pem: String::new(),
    };
    let tcp = Some(TcpListen { address: "127.0.0.1:0".parse().unwrap(), identity: broken });
    let config = KeeperConfig { tcp, ..keeper.config() };
    let passphrase = zeroize::Zeroizing::new(common::PASSPHRASE.to_vec());
    let clock = keeper.clock.clone();
    let ended = holdfast_keeper::run(config, passphrase, clock, async {}, || {}).await;
    let Err(error @ StartError::Tls(_)) = ended else { panic!("{ended:?}") };
    assert!(error.to_string().contains("the keeper's authority cannot be used"), "{error}");
}
