//! Starts and ends moto.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::connector::send;
use crate::python::{python, target};

/// moto, as a process of its own; it ends with this value.
pub(super) struct Server {
    process: Child,
    pub(super) port: u16,
}

impl Server {
    /// Starts moto and waits until it answers, or says why it cannot.
    pub(super) fn start() -> Result<Self, String> {
        let python = python()?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack/moto/server.py");
        let log = std::fs::File::create(target().join(format!("moto-{port}.log"))).unwrap();
        let mut command = Command::new(python);
        command.arg("-B").arg(script).arg(port.to_string()).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(log);
        let mut server = Self { process: command.spawn().unwrap(), port };
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            assert!(server.process.try_wait().unwrap().is_none(), "moto ended: see target/moto-{port}.log");
            pause();
        }
        panic!("moto does not answer");
    }

    /// Every resource in moto, as `type name` lines.
    pub(super) fn resources(&self) -> Vec<String> {
        let request = b"GET /stackdrop/resources HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let (_, body) = send(self.port, request).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "another program runs in real time")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}
