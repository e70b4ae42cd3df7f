//! A web server for the tests of `start_api`: `tiny_web_server <port> <status>` answers every
//! request with that status and the process id of its child process. With the status 0 it never
//! listens; with `stubborn` as a third argument it and its child ignore SIGTERM.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, status, rest @ ..] = arguments.as_slice() else {
        panic!("usage: tiny_web_server <port> <status> [stubborn]");
    };
    let nap = if rest.is_empty() {
        "exec sleep 600"
    } else {
        "trap '' TERM; sleep 600; sleep 600"
    };
    let child = Command::new("sh")
        .args(["-c", nap])
        .stdout(Stdio::null())
        .spawn();
    let child = child.expect("sh starts").id();
    println!("child {child}");
    eprintln!("a line on stderr");
    if status == "0" {
        loop {
            thread::park();
        }
    }
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        let request = BufReader::new(stream.try_clone().expect("a second handle"));
        // The request ends with an empty line, unless the client has disconnected.
        let complete = request
            .lines()
            .map_while(Result::ok)
            .any(|line| line.is_empty());
        if complete {
            let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\n\r\n{child}");
        }
    }
}
