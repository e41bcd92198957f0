//! `mqtt-proxy log verify`: checks every checksum, and says what is damaged.

use actors::message_log::segment::{Damage, Finding};

use super::{Failure, Files};
use crate::cli::output::{self, Reader};

/// Prints a line for each finding, and a summary. Fails where something is damaged.
pub fn run(files: &Files) -> Result<(), Failure> {
    let mut damages = 0;
    let mut written = Ok(Reader::Listens);
    let checked = files.check(&mut |finding| {
        damages += u64::from(is_damage(&finding.damage));
        written = output::write(format!("{}\n", line(&finding)).as_bytes());
        matches!(written, Ok(Reader::Listens))
    });
    if written? == Reader::Listens {
        let what =
            if damages == 0 { "nothing is damaged".to_owned() } else { format!("{damages} damaged places") };
        let summary = format!(
            "{} files, {} bytes, {} whole records: {what}\n",
            checked.files, checked.bytes, checked.records
        );
        output::write(summary.as_bytes())?;
    }
    // What is wrong stands on standard output already.
    if damages == 0 { Ok(()) } else { Err(Failure { exit_code: 1, lines: Vec::new() }) }
}

/// A write that is not done yet is no damage.
fn is_damage(damage: &Damage) -> bool {
    !matches!(damage, Damage::TornTail { .. })
}

fn line(finding: &Finding) -> String {
    let path = finding.path.display();
    match &finding.damage {
        Damage::Corrupt { position: 0, bytes: 0 } => format!("{path}: empty, its records are lost"),
        Damage::Corrupt { position, bytes } => {
            format!("{path}: damaged, {bytes} bytes from {position} on hold no whole record")
        }
        Damage::TornTail { position, bytes } => format!(
            "{path}: unfinished write, {bytes} bytes from {position} on; no damage, a start of the proxy cuts it off"
        ),
        Damage::NothingBefore(named) => format!("{path}: the file before it, {named:020}.log, is missing"),
        // It names the file.
        Damage::Unreadable(text) => format!("unreadable: {text}"),
    }
}
