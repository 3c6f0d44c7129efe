//! Running a command so that what it asks of the file system is written down.

use std::path::Path;
use std::process::{Command, Stdio};

/// Calls that change files or names, move the place of the next write, or hand
/// descriptors on; and those that would change files unseen, to be refused.
const CALLS: &str = "trace=open,openat,openat2,creat,close,close_range,dup,dup2,dup3,fcntl,lseek,write,\
pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync,syncfs,rename,\
renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,clone,clone3,fork,\
vfork,execve,mmap,copy_file_range,sendfile,splice,io_uring_setup";

/// Whether this machine can record; says so when not.
///
/// # Panics
/// In CI (`CI=true`) when it cannot.
pub fn is_possible() -> bool {
    let tried = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let possible = tried.is_ok_and(|status| status.success());
    if !possible {
        assert!(std::env::var_os("CI").is_none(), "no strace to record with");
        println!("skipped: no strace on this machine, or it may not trace");
    }
    possible
}

/// `program`, to be given its arguments, with a recording in the file `trace`.
/// `injections` are faults in `strace`'s words, such as
/// `fsync:signal=SIGKILL:when=20`.
pub fn under_strace(program: &Path, trace: &Path, injections: &[&str]) -> Command {
    let mut command = Command::new("strace");
    // Quicker, but then faults do not come.
    if injections.is_empty() {
        command.arg("--seccomp-bpf");
    }
    command.args(["-f", "-qq", "-xx", "-s", "33554432"]);
    command.args(["-e", CALLS, "-e", "signal=none"]);
    for injection in injections {
        command.arg("-e").arg(format!("inject={injection}"));
    }
    command.arg("-o").arg(trace).arg("--").arg(program);
    command
}
