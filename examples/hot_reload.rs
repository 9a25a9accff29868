//! Hot reload: each file is a topic, and components receive its edits for as long as they live.
//!
//! ```text
//! cargo run --example hot_reload            # edits two temporary files, then ends
//! cargo run --example hot_reload -- PATH    # watches a file or a directory until Ctrl-C
//!
//! # The same, with a page that shows the topics meanwhile:
//! cargo run -p topic-registry-inspect --example hot_reload -- --inspect PATH
//! ```

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{self, Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{env, fs, iter, thread};

use notify::{RecursiveMode, Watcher};
use topic_registry::{Delivery, HandlerGuard, PanicInfo, TopicRegistry};

pub(crate) type Topics = TopicRegistry<PathBuf, Reload>;

/// What the watching thread is told: an event, or that it is over.
type News = Option<notify::Result<notify::Event>>;

pub(crate) struct Reload {
    content: String,
}

/// A component that receives the edits of its files until it is dropped.
struct Component {
    _guards: Vec<HandlerGuard>,
}

impl Component {
    // So that a panic is traced to the component, not to the line that registers its handlers.
    #[track_caller]
    fn new(topics: &Topics, files: &[PathBuf], priority: i32, react: fn(&Reload)) -> Self {
        let mut guards = Vec::new();
        for file in files {
            guards.push(topics.options(file).priority(priority).guard().register(react));
        }
        Self { _guards: guards }
    }
}

fn components(topics: &Topics, files: &[PathBuf]) -> [Component; 3] {
    [
        Component::new(topics, files, 10, |reload| {
            let mut lines = reload.content.lines();
            match lines.find_map(|line| line.strip_prefix("connections = ")) {
                // It trusts its input; if that is wrong, the other components must not be affected.
                Some(text) => say(&format!("  limits: {}", text.parse::<u32>().expect(text))),
                None => say("  limits: unchanged"),
            }
        }),
        Component::new(topics, files, 0, |reload| {
            let title = reload.content.lines().next().unwrap_or_default();
            say(&format!("  screen: {title:?}"));
        }),
        Component::new(topics, files, -10, |reload| {
            say(&format!("  audit: {} bytes", reload.content.len()));
        }),
    ]
}

fn new_topics() -> Topics {
    let topics = Topics::new();
    topics.on_panic(print_panic);
    topics
}

#[expect(clippy::ptr_arg, reason = "it is a callback")]
pub(crate) fn print_panic(path: &PathBuf, info: &PanicInfo<'_>) {
    let (file, location) = (name(path), info.registered_at());
    let message = info.message().unwrap_or("no message");
    say(&format!(
        "  panic: {file}: {message} (registered at {location})"
    ));
}

/// Notifies the components of edits to `files`, until the sender is told `None`.
fn start(topics: Topics, files: &[PathBuf]) -> notify::Result<(Sender<News>, Receiver<Delivery>)> {
    let components = components(&topics, files);

    let (sender, news) = mpsc::channel();
    let told = sender.clone();
    // The receiver may be gone.
    let mut watcher = notify::recommended_watcher(move |event| drop(told.send(Some(event))))?;
    watch_all(&mut watcher, files)?;
    // Read after the watch began, so that no edit falls between the two.
    let mut last: HashMap<_, _> = files.iter().map(|file| (file.clone(), read(file))).collect();

    let (told, deliveries) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(Some(first)) = news.recv() {
            // A save is several events, the first of them before the content is whole.
            thread::sleep(Duration::from_millis(50));
            let events: Vec<_> = iter::once(Some(first)).chain(news.try_iter()).collect();
            let is_over = events.iter().any(Option::is_none) || IS_UNHEARD.load(Ordering::Relaxed);
            let events = events.into_iter().flatten();
            let events = events.filter_map(|event| event.map_err(|why| complain(&why)).ok());
            // Our own reading is an event too. The paths of the others may be those of links.
            if events.filter(|event| !event.kind.is_access()).count() > 0 {
                // Links may lead elsewhere now.
                let _ = watch_all(&mut watcher, last.keys()).map_err(|why| complain(&why));
                for (file, last) in &mut last {
                    if let Some(delivery) = reload(&topics, file, last) {
                        // The receiver may be gone.
                        let _ = told.send(delivery);
                    }
                }
            }
            if is_over {
                break;
            }
        }
        drop(components);
        say(&format!("goodbye; topics left: {}", topics.len()));
    });
    Ok((sender, deliveries))
}

/// Watches all that decides what the files contain. Watching a directory again does no harm.
fn watch_all<'a>(
    watcher: &mut impl Watcher,
    files: impl IntoIterator<Item = &'a PathBuf>,
) -> notify::Result<()> {
    let places: BTreeSet<_> = files.into_iter().flat_map(|file| places(file)).collect();
    places
        .iter()
        .try_for_each(|place| watcher.watch(place, RecursiveMode::NonRecursive))
}

/// Returns the directories of a file and of all links on the way to it: editors replace files, and
/// those who mount configurations replace links.
fn places(file: &Path) -> Vec<PathBuf> {
    let (mut places, mut path) = (Vec::new(), file.to_owned());
    // As many links as Linux follows.
    for _ in 0..40 {
        let mut parts: Vec<_> = path.ancestors().collect();
        parts.reverse();
        let link = parts.iter().find_map(|part| Some((*part, fs::read_link(part).ok()?)));
        let (part, target) = link.map_or((&*path, None), |(part, target)| (part, Some(target)));
        let dir = part.parent().unwrap_or(part);
        places.push(dir.to_owned());
        let Some(target) = target else { break };
        let rest = path.strip_prefix(part).unwrap_or(Path::new(""));
        // Not with an empty rest, which would add a slash.
        path = dir.join(target).components().chain(rest.components()).collect();
    }
    places
}

/// Notifies the handlers of a file if it reads otherwise than before.
fn reload(topics: &Topics, file: &PathBuf, last: &mut Result<String, String>) -> Option<Delivery> {
    let now = read(file);
    if now == *last {
        return None;
    }
    *last = now;
    match last {
        Ok(content) => {
            say(&format!("{} changed", name(file)));
            let reload = Reload {
                content: content.clone(),
            };
            Some(topics.get(file)?.notify(&reload))
        }
        Err(why) => {
            complain(&format!("{}: {why}", name(file)));
            None
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    let is_file = fs::metadata(file).map_err(|why| why.to_string())?.is_file();
    // Opening a pipe might never end, nor might reading a device.
    let content = is_file.then(|| fs::read_to_string(file)).ok_or("it is no regular file")?;
    content.map_err(|why| why.to_string())
}

/// Edits two files as a user would, and checks the deliveries.
fn demonstrate(topics: Topics) -> Result<(), Box<dyn Error>> {
    const PATIENCE: Duration = Duration::from_secs(4);
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let files = ["app.toml", "limits.toml"].map(|name| dir.join(name));
    for file in &files {
        fs::write(file, "")?;
    }
    let (news, deliveries) = start(topics, &files)?;
    for (file, content, panicked) in [
        (&files[0], "theme = dark", 0),
        (&files[1], "connections = 200", 0),
        (&files[1], "connections = lots", 1),
        (&files[1], "connections = 300", 0),
    ] {
        if panicked != 0 {
            say("(a wrong value, on purpose: one handler panics, the others still run)");
        }
        // As editors do it: no reader sees half a file.
        fs::write(dir.join("draft"), content)?;
        fs::rename(dir.join("draft"), file)?;
        let none = |error| format!("no reload of {} within {PATIENCE:?}: {error}", name(file));
        let delivery = deliveries.recv_timeout(PATIENCE).map_err(none)?;
        if (delivery.called(), delivery.panicked()) != (3, panicked) {
            return Err(format!("{} with {content:?}: {delivery:?}", name(file)).into());
        }
    }
    news.send(None)?;
    match deliveries.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Disconnected) => {
            say("That was a demonstration. To watch a path of your own, add it:");
            say("cargo run --release --example hot_reload -- PATH");
            Ok(())
        }
        other => Err(format!("no end within {PATIENCE:?}, but {other:?}").into()),
    }
}

/// Lets the user edit a file, or the files that are in a directory now. Links are followed.
fn watch(topics: Topics, path: &Path) -> Result<(), Box<dyn Error>> {
    let path = path::absolute(path)?;
    let mut files = Vec::new();
    if fs::metadata(&path)?.is_dir() {
        for entry in fs::read_dir(&path)? {
            files.push(entry?.path());
        }
    } else {
        files.push(path.clone());
    }
    files.retain(|file| file.is_file());
    if files.is_empty() {
        return Err("no file to watch".into());
    }
    let (news, deliveries) = start(topics, &files)?;
    let mut is_second = false;
    ctrlc::set_handler(move || {
        // The second one does not wait for what may be hung.
        if is_second || news.send(None).is_err() {
            process::exit(1);
        }
        is_second = true;
    })?;
    let (count, path) = (files.len(), path.display());
    say(&format!(
        "watching {path} until Ctrl-C (files: {count}; later ones are left out)"
    ));
    // Until the thread ends.
    deliveries.iter().for_each(drop);
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    run(new_topics(), &args)
}

pub(crate) fn run(topics: Topics, args: &[PathBuf]) -> ExitCode {
    // `on_panic` prints one line instead.
    std::panic::set_hook(Box::new(|_| {}));
    let (outcome, status) = match args {
        [] => (demonstrate(topics), 1),
        [path] => {
            let at = |why| format!("cannot watch \"{}\": {why}", path.display()).into();
            (watch(topics, path).map_err(at), 2)
        }
        _ => (Err("usage: hot_reload [FILE | DIRECTORY]".into()), 2),
    };
    if IS_UNHEARD.load(Ordering::Relaxed) {
        return ExitCode::FAILURE;
    }
    let Err(why) = outcome else {
        return ExitCode::SUCCESS;
    };
    complain(&why);
    ExitCode::from(status)
}

/// Whether nobody takes the output any more: then the program ends, and there is nobody to tell.
static IS_UNHEARD: AtomicBool = AtomicBool::new(false);

fn say(line: &str) {
    if writeln!(io::stdout(), "{line}").is_err() {
        IS_UNHEARD.store(true, Ordering::Relaxed);
    }
}

fn complain(why: &impl Display) {
    // If nobody reads stderr either, so be it.
    let _ = writeln!(io::stderr(), "{why}");
}

fn name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
#[path = "hot_reload/tests.rs"]
mod tests;
