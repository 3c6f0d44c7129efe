//! The doors over real sockets with real TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use holdfast_exchange::{Ask, NewAccount, Role};
use holdfast_server::{Bound, ServerIdentity, fingerprint, serve};
use holdfast_testkit::{TestExchange, id, organization};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Shown {
    pem: String,
    der: Vec<u8>,
    key_pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, hosts: &[&str], usage: ExtendedKeyUsagePurpose) -> Shown {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Shown {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
        }
    }
}

/// Open doors with a system that may send.
struct Open {
    kit: TestExchange,
    authority: Authority,
    sender: Shown,
    bound: Bound,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

async fn open() -> Open {
    let kit = TestExchange::start().await;
    let authority = Authority::new();
    let server = authority.issue(&["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
    let sender = authority.issue(&[], ExtendedKeyUsagePurpose::ClientAuth);
    let administrator = Ask::new(kit.sign_in("administrator").await);
    let account = NewAccount {
        id: id("interface:wire-test"),
        display_name: "Wire test".into(),
        organization: organization("lakeside-family"),
        role: Role::System,
        npi: None,
        certificate: Some(fingerprint(&sender.der)),
        patient: None,
    };
    kit.exchange().create_account(&administrator, account).await.unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let doors =
        holdfast_server::Doors { https: any, mllp: any, http: Some(any), name: "localhost".into() };
    let identity = ServerIdentity {
        certificate_pem: server.pem,
        key_pem: server.key_pem.into(),
        client_authority_pem: authority.pem.clone(),
        issuer: None,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, bound) = oneshot::channel();
    let (exchange, clock) = (Arc::clone(kit.exchange()), kit.clock.clone());
    let served = tokio::spawn(async move {
        let ready = |bound: &Bound| {
            let _ = ready.send(*bound);
        };
        let stop = async { drop(stopped.await) };
        serve(exchange, doors, identity, clock, ready, stop).await.unwrap();
    });
    Open { kit, authority, sender, bound: bound.await.unwrap(), stop, served }
}

async fn connect(
    authority: &Authority,
    shown: Option<&Shown>,
    at: SocketAddr,
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        Some(shown) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(shown.pem.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(shown.key_pem.as_bytes()).unwrap(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(at).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Reads one frame; empty when the connection ends first.
async fn frame(stream: &mut TlsStream<TcpStream>) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\x1c\r") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn message(options: &holdfast_sample::Options) -> Vec<u8> {
    holdfast_sample::generate(options)
        .find(|item| {
            item.interface.as_str() == "hl7v2@lakeside-family" && item.kind.starts_with("ADT")
        })
        .unwrap()
        .bytes
        .clone()
}

fn framed(message: &[u8]) -> Vec<u8> {
    holdfast_exchange::mllp::frame(message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_known_system_are_acknowledged_one_after_the_other() {
    let open = open().await;
    let message =
        message(&holdfast_sample::Options { patients: 12, seed: 7, ..Default::default() });
    let mut stream = connect(&open.authority, Some(&open.sender), open.bound.mllp).await;
    // Good, again, broken, bytes that are no message, and good again in one go.
    let broken = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|X1|P|2.5.1\rPV1|1|I\r";
    let mut bytes = [framed(&message), framed(&message), framed(broken)].concat();
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    bytes.extend_from_slice(&framed(&message));
    stream.write_all(&bytes).await.unwrap();
    let mut codes = Vec::new();
    for _ in 0..5 {
        let ack = frame(&mut stream).await;
        let msa = ack.split('\r').find(|segment| segment.starts_with("MSA")).unwrap().to_owned();
        codes.push(msa[4..6].to_owned());
        if codes.len() == 3 {
            assert!(ack.contains("ERR||PID") && msa.contains("X1"), "{ack}");
        }
    }
    assert_eq!(codes, ["AA", "AA", "AE", "AR", "AA"]);
    assert_eq!(open.kit.exchange().counts().unwrap().patients, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_lacks_its_last_carriage_return_is_taken_all_the_same() {
    let open = open().await;
    let message =
        message(&holdfast_sample::Options { patients: 12, seed: 7, ..Default::default() });
    let mut stream = connect(&open.authority, Some(&open.sender), open.bound.mllp).await;
    let framed = framed(&message);
    stream.write_all(&framed[..framed.len() - 1]).await.unwrap();
    assert!(frame(&mut stream).await.contains("MSA|AA|"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_a_sender_whom_nobody_knows_is_told_so_and_nothing_is_kept() {
    let open = open().await;
    let message =
        message(&holdfast_sample::Options { patients: 12, seed: 7, ..Default::default() });
    let stranger = open.authority.issue(&[], ExtendedKeyUsagePurpose::ClientAuth);
    let mut stream = connect(&open.authority, Some(&stranger), open.bound.mllp).await;
    stream.write_all(&framed(&message)).await.unwrap();
    assert!(frame(&mut stream).await.contains("MSA|AR|"));
    assert_eq!(frame(&mut stream).await, "", "the connection ends");
    // Without a certificate, or with somebody else's, there is no connection.
    let foreign = Authority::new().issue(&[], ExtendedKeyUsagePurpose::ClientAuth);
    for shown in [None, Some(&foreign)] {
        let mut stream = connect(&open.authority, shown, open.bound.mllp).await;
        let _ = stream.write_all(&framed(&message)).await;
        assert_eq!(frame(&mut stream).await, "");
    }
    let counts = open.kit.exchange().counts().unwrap();
    assert_eq!((counts.patients, counts.pending), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_knows_a_system_by_its_certificate_and_stops_when_told() {
    let open = open().await;
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = async |shown: Option<&Shown>, path: &str| {
        let mut stream = connect(&open.authority, shown, open.bound.https).await;
        stream.write_all(get(path).as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    };
    assert!(answer(None, "/healthz").await.ends_with("ok"));
    assert!(answer(None, "/ops/status").await.starts_with("HTTP/1.1 401"));
    let status = answer(Some(&open.sender), "/ops/status").await;
    assert!(status.contains("interface:wire-test"), "{status}");

    let mut plain = TcpStream::connect(open.bound.http.unwrap()).await.unwrap();
    plain.write_all(get("/healthz").as_bytes()).await.unwrap();
    let mut text = String::new();
    plain.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("ok"));

    let idle = connect(&open.authority, Some(&open.sender), open.bound.mllp).await;
    open.stop.send(()).unwrap();
    open.served.await.unwrap();
    assert!(TcpStream::connect(open.bound.https).await.is_err());
    drop(idle);
}
