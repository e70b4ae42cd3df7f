//! A real Redis for one test.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::bus::config::Config;

/// Long enough for a machine that runs many tests at once.
const STARTUP: Duration = Duration::from_secs(20);

/// A `redis-server` process; killed on drop.
pub(super) struct TestRedis {
    process: Child,
    port: u16,
    directory: PathBuf,
    options: Vec<String>,
}

impl TestRedis {
    /// Starts a server on a free port and waits until it answers.
    pub(super) fn start(options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("conclib-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        for _ in 0..10 {
            // Another process may take the port before Redis does.
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            if let Some(process) = spawn(port, &directory, &options) {
                return Self {
                    process,
                    port,
                    directory,
                    options,
                };
            }
        }
        panic!("redis-server does not start");
    }

    pub(super) fn config(&self) -> Config {
        self.config_as("")
    }

    /// With credentials, such as `user:password@`.
    pub(super) fn config_as(&self, user: &str) -> Config {
        Config::new(&format!("redis://{user}127.0.0.1:{}", self.port)).unwrap()
    }

    /// Runs a command on a new connection; returns the reply's first line, or its text.
    pub(super) fn command(&self, words: &[&str]) -> String {
        ask(self.port, words).unwrap()
    }

    /// Runs a command as a user.
    pub(super) fn command_as(&self, user: &str, password: &str, words: &[&str]) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut reader = BufReader::new(stream);
        assert_eq!(send(&mut reader, &["AUTH", user, password]).unwrap(), "+OK");
        send(&mut reader, words).unwrap()
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the server again after [`kill`](Self::kill), on the same port.
    pub(super) fn start_again(&mut self) {
        self.process = spawn(self.port, &self.directory, &self.options).expect("the same port");
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Starts a server; `None` if it ended at once.
fn spawn(port: u16, directory: &Path, options: &[String]) -> Option<Child> {
    let mut process = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .args(["--appendonly", "no", "--dir"])
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server must be installed to run these tests");
    let deadline = Instant::now() + STARTUP;
    while Instant::now() < deadline {
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        // An error reply, such as for a missing password, is a reply too.
        if ask(port, &["PING"]).is_ok() {
            // The reply may be another server's: then ours could not listen, and is about to end.
            std::thread::sleep(Duration::from_millis(20));
            return process.try_wait().unwrap().is_none().then_some(process);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}

fn ask(port: u16, words: &[&str]) -> std::io::Result<String> {
    send(
        &mut BufReader::new(TcpStream::connect(("127.0.0.1", port))?),
        words,
    )
}

fn send(connection: &mut BufReader<TcpStream>, words: &[&str]) -> std::io::Result<String> {
    let stream = connection.get_mut();
    stream.set_read_timeout(Some(STARTUP))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.extend(["$", &word.len().to_string(), "\r\n", word, "\r\n"]);
    }
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    if line.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let Some(length) = line
        .trim_end()
        .strip_prefix('$')
        .and_then(|n| n.parse().ok())
    else {
        return Ok(line.trim_end().to_owned());
    };
    let mut text = vec![0; length];
    connection.read_exact(&mut text)?;
    String::from_utf8(text).map_err(|_| ErrorKind::InvalidData.into())
}
