//! The Python environment of tests that need AWS's models or an emulator: `requirements.txt`, installed under `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// How long it may take to install the packages.
const INSTALL_SECONDS_MAX: u64 = 400;

/// The tests of one program take turns.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    let command = Path::new(env!("CARGO_BIN_EXE_stackdrop"));
    command.ancestors().nth(2).unwrap().to_owned()
}

/// The Python of a virtual environment with the packages in `requirements.txt`, or why there is none.
pub(crate) fn python() -> Result<PathBuf, String> {
    let _turn = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = target().join("python");
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(python);
    }
    let quiet = |command: &mut Command| {
        within(INSTALL_SECONDS_MAX, command.stdout(Stdio::null()).stderr(Stdio::null()))
    };
    if quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)) != Ok(true) {
        return Err("python3 with venv is not installed".into());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/requirements.txt");
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    let ended = within(INSTALL_SECONDS_MAX, install.arg("--requirement").arg(file));
    if ended != Ok(true) {
        return Err(format!("pip {}, so tests/python/requirements.txt is not installed", why(&ended)));
    }
    std::fs::write(stamp, REQUIREMENTS).unwrap();
    Ok(python)
}

/// Runs a program with a time limit: whether it succeeded, or why it did not start or end.
pub(crate) fn within(seconds: u64, command: &mut Command) -> Result<bool, String> {
    let mut child =
        command.stdin(Stdio::null()).spawn().map_err(|error| format!("did not start: {error}"))?;
    for _ in 0..seconds * 5 {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status.success());
        }
        pause();
    }
    // A program can stop its own processes on SIGTERM, but not if it is killed.
    let terminated = Command::new("kill").arg(child.id().to_string()).status();
    for _ in 0..if terminated.is_ok() { 50 } else { 0 } {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            break;
        }
        pause();
    }
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    Err(format!("did not end within {seconds} s"))
}

#[expect(clippy::disallowed_methods, reason = "other programs run in real time")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(200));
}

/// How a program ended, in words.
pub(crate) fn why(ended: &Result<bool, String>) -> &str {
    match ended {
        Ok(_) => "failed",
        Err(why) => why,
    }
}
