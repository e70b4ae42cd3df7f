//! Certificate authorities, certificates, and a Redis with TLS.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use conclib::Config;
use conclib_tests::{ASK_TIMEOUT, TEST_TIMEOUT};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A directory of one test, removed on drop.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("conclib-security-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file; returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key, in files.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) certificate: PathBuf,
    directory: Directory,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("the tests' authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let directory = Directory::new();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: directory.file("ca.pem", &certificate.pem()),
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    /// Signs a certificate for a host or an address.
    pub(crate) fn sign(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: self
                .directory
                .file(&format!("{name}.pem"), &certificate.pem()),
            key: self
                .directory
                .file(&format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

/// A Redis with TLS, killed on drop.
pub(crate) struct TlsRedis {
    process: Child,
    pub(crate) port: u16,
}

impl TlsRedis {
    /// Starts it at 127.0.0.1, with these options.
    pub(crate) fn start(authority: &Authority, options: &[&str]) -> Self {
        let identity = authority.sign("127.0.0.1");
        for _ in 0..10 {
            // Another process may take the port before Redis does.
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            if let Some(process) = spawn(port, &identity, &authority.certificate, options) {
                return Self { process, port };
            }
        }
        panic!("no Redis with TLS starts");
    }

    /// A config with TLS that trusts the authority.
    pub(crate) fn config(&self, authority: &Authority) -> Config {
        let url = format!("rediss://127.0.0.1:{}", self.port);
        let config = Config::new(&url).unwrap().timeout(ASK_TIMEOUT);
        config.ca_file(&authority.certificate)
    }
}

/// `None` if it ended at once.
fn spawn(port: u16, own: &Identity, ca: &Path, options: &[&str]) -> Option<Child> {
    let port_text = port.to_string();
    let mut process = Command::new("redis-server")
        .args([
            "--port",
            "0",
            "--tls-port",
            &port_text,
            "--bind",
            "127.0.0.1",
        ])
        .args(["--save", "", "--appendonly", "no"])
        .args(options)
        .arg("--tls-cert-file")
        .arg(&own.certificate)
        .arg("--tls-key-file")
        .arg(&own.key)
        .arg("--tls-ca-cert-file")
        .arg(ca)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server must be installed to run these tests");
    let deadline = Instant::now() + TEST_TIMEOUT;
    while Instant::now() < deadline {
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}

impl Drop for TlsRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
