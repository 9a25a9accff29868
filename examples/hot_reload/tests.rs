//! Files that are links, pipes or forbidden: `cargo test --example hot_reload`.
#![cfg(unix)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Some watched files in a directory of their own.
struct Watched {
    dir: tempfile::TempDir,
    news: Sender<News>,
    deliveries: Receiver<Delivery>,
}

impl Watched {
    fn start(prepare: impl FnOnce(&Path) -> Vec<PathBuf>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let files = prepare(dir.path());
        let (news, deliveries) = start(new_topics(), &files).expect("they can be watched");
        Self {
            dir,
            news,
            deliveries,
        }
    }

    fn expect(&self, what: &str) {
        let hung = |why| panic!("waited {PATIENCE:?} for {what}: {why}");
        let delivery = self.deliveries.recv_timeout(PATIENCE).unwrap_or_else(hung);
        assert_eq!(delivery.called(), 3, "{what}");
    }

    fn end(self) {
        self.news.send(None).expect("the thread runs");
        let end = self.deliveries.recv_timeout(PATIENCE);
        assert_eq!(end.err(), Some(RecvTimeoutError::Disconnected), "it ends");
    }
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a file");
}

#[test]
fn a_file_that_becomes_a_pipe_holds_up_nothing() {
    let watched = Watched::start(|dir| {
        let files = ["pipe", "other"].map(|name| dir.join(name));
        files.iter().for_each(|file| write(file, ""));
        files.into()
    });
    let dir = watched.dir.path();
    fs::remove_file(dir.join("pipe")).expect("it is there");
    let status = Command::new("mkfifo").arg(dir.join("pipe")).status();
    assert!(status.expect("there is `mkfifo`").success());
    write(&dir.join("other"), "new");
    watched.expect("the other file");
    watched.end();
}

#[test]
fn a_directory_of_links_that_is_swapped_at_once_is_noticed_each_time() {
    // As Kubernetes mounts a `ConfigMap`.
    let version = |dir: &Path, version: &str| {
        fs::create_dir(dir.join(version)).expect("a directory");
        write(&dir.join(version).join("app.toml"), version);
        symlink(version, dir.join("..data_tmp")).expect("a link");
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("it is swapped");
    };
    let watched = Watched::start(|dir| {
        version(dir, "..1");
        symlink("..data/app.toml", dir.join("app.toml")).expect("a link");
        vec![dir.join("app.toml")]
    });
    for (old, new) in [("..1", "..2"), ("..2", "..3"), ("..3", "..4")] {
        version(watched.dir.path(), new);
        fs::remove_dir_all(watched.dir.path().join(old)).expect("it is there");
        watched.expect(new);
    }
    watched.end();
}

#[test]
fn edits_of_what_a_link_leads_to_are_noticed() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let [first, second] = ["first", "second"].map(|name| elsewhere.path().join(name));
    for target in [&first, &second] {
        fs::create_dir(target).expect("a directory");
        write(&target.join("real"), "");
    }
    let watched = Watched::start(|dir| {
        symlink(first.join("real"), dir.join("middle")).expect("a link");
        symlink("middle", dir.join("link")).expect("a link");
        vec![dir.join("link")]
    });
    write(&first.join("real"), "edited");
    watched.expect("an edit of the target");
    // And so are those of the next target, after the swap of a link in the middle.
    let dir = watched.dir.path();
    symlink(second.join("real"), dir.join("new")).expect("a link");
    fs::rename(dir.join("new"), dir.join("middle")).expect("it is swapped");
    watched.expect("the swap");
    write(&second.join("real"), "edited again");
    watched.expect("an edit of the new target");
    watched.end();
}

#[test]
fn links_that_lead_nowhere_or_in_circles_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let circle = dir.path().join("circle");
    symlink("circle", &circle).expect("a link");
    assert_eq!(places(&circle).len(), 40);
    assert!(read(&circle).is_err());
    let nowhere = dir.path().join("nowhere");
    symlink("/no/such/place", &nowhere).expect("a link");
    assert_eq!(places(&nowhere), [dir.path(), Path::new("/no/such")]);
}

#[test]
fn a_file_that_must_not_be_read_any_more_holds_up_nothing() {
    const NAME: &str = "tests::a_file_that_must_not_be_read_any_more_holds_up_nothing";
    let watched = Watched::start(|dir| {
        let files = ["secret", "other"].map(|name| dir.join(name));
        files.iter().for_each(|file| write(file, ""));
        files.into()
    });
    let dir = watched.dir.path();
    let allow = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(dir.join("secret"), mode).expect("it is ours");
    };
    write(&dir.join("secret"), "new");
    watched.expect("the file while it may be read");
    allow(0o200);
    if fs::read(dir.join("secret")).is_ok() {
        // Root may read anything. Somebody else runs this again.
        watched.end();
        let program = env::current_exe().expect("this program");
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        let output = command.arg(program).args([NAME, "--exact"]).output();
        let output = output.expect("there is `setpriv`");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    write(&dir.join("secret"), "newer");
    write(&dir.join("other"), "new");
    watched.expect("the other file");
    allow(0o600);
    watched.expect("the file when it may be read again");
    watched.end();
}
