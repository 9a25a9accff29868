//! Hot reload: each file is a topic, and components receive its edits for as long as they live.
//!
//! ```text
//! cargo run --example hot_reload            # edits two temporary files, then ends
//! cargo run --example hot_reload -- PATH    # watches a file or a directory until Ctrl-C
//! ```

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::{borrow::Cow, env, error::Error, fs, iter, process::ExitCode, thread, time::Duration};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use topic_registry::{Delivery, HandlerGuard, TopicRegistry};

type Topics = TopicRegistry<PathBuf, Reload>;

struct Reload {
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
            guards.push(topics.handle(file).options().priority(priority).guard().register(react));
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
                Some(text) => println!("  limits: {}", text.parse::<u32>().expect(text)),
                None => println!("  limits: unchanged"),
            }
        }),
        Component::new(topics, files, 0, |reload| {
            let title = reload.content.lines().next().unwrap_or_default();
            println!("  screen: {title:?}");
        }),
        Component::new(topics, files, -10, |reload| {
            println!("  audit: {} bytes", reload.content.len());
        }),
    ]
}

/// Notifies the components of edits to `files`, all in `dir`, until the watcher is dropped.
fn start(
    dir: &Path,
    files: &[PathBuf],
) -> notify::Result<(RecommendedWatcher, Receiver<Delivery>)> {
    let topics = Topics::new();
    topics.on_panic(|path, info| {
        let (file, location) = (name(path), info.registered_at());
        let message = info.message().unwrap_or("no message");
        println!("  panic: {file}: {message} (registered at {location})");
    });
    let components = components(&topics, files);

    let (sender, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(sender)?;
    // Not the files themselves: editors replace them.
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    let mut last = HashMap::new();
    for file in files {
        // Read after the watch began, so that no edit falls between the two.
        last.insert(file.clone(), fs::read_to_string(file).unwrap_or_default());
    }

    let (told, deliveries) = mpsc::channel();
    thread::spawn(move || {
        for first in &events {
            // A save is several events, the first of them before the content is whole.
            thread::sleep(Duration::from_millis(50));
            let events = iter::once(first).chain(events.try_iter());
            let events = events.filter_map(|event| event.inspect_err(|e| eprintln!("{e}")).ok());
            // Our own reading is an event too.
            let changes = events.filter(|event| !event.kind.is_access());
            let paths: BTreeSet<_> = changes.flat_map(|event| event.paths).collect();
            // Files without handlers have no topic.
            for topic in paths.iter().filter_map(|path| topics.get(path)) {
                match fs::read_to_string(topic.key()) {
                    Ok(content) if last.get(topic.key()) == Some(&content) => {}
                    Ok(content) => {
                        println!("{} changed", name(topic.key()));
                        let reload = Reload { content };
                        // The receiver may be gone.
                        let _ = told.send(topic.notify(&reload));
                        last.insert(topic.key().clone(), reload.content);
                    }
                    Err(error) => eprintln!("{}: {error}", name(topic.key())),
                }
            }
        }
        drop(components);
        println!("goodbye; topics left: {}", topics.len());
    });
    Ok((watcher, deliveries))
}

/// Edits two files as a user would, and checks the deliveries.
fn demonstrate() -> Result<(), Box<dyn Error>> {
    const PATIENCE: Duration = Duration::from_secs(4);
    let temp = tempfile::tempdir()?;
    // Events carry real paths, and the path of a temporary directory may contain a link.
    let dir = temp.path().canonicalize()?;
    let files = ["app.toml", "limits.toml"].map(|name| dir.join(name));
    for file in &files {
        fs::write(file, "")?;
    }
    let (watcher, deliveries) = start(&dir, &files)?;
    for (file, content, panicked) in [
        (&files[0], "theme = dark", 0),
        (&files[1], "connections = 200", 0),
        (&files[1], "connections = lots", 1),
        (&files[1], "connections = 300", 0),
    ] {
        if panicked != 0 {
            println!("(a wrong value, on purpose: one handler panics, the others still run)");
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
    drop(watcher);
    match deliveries.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Disconnected) => {
            println!("That was a demonstration. To watch a path of your own, add it:");
            println!("cargo run --release --example hot_reload -- PATH");
            Ok(())
        }
        other => Err(format!("no end within {PATIENCE:?}, but {other:?}").into()),
    }
}

/// Lets the user edit a file, or the files that are in a directory now.
fn watch(path: &Path) -> Result<(), Box<dyn Error>> {
    let path = path.canonicalize()?;
    let (mut dir, mut files) = (&*path, Vec::new());
    if path.is_dir() {
        for entry in fs::read_dir(dir)? {
            files.push(entry?.path());
        }
    } else {
        dir = path.parent().unwrap_or(dir);
        files.push(path.clone());
    }
    // Reading a pipe or a device might never end.
    files.retain(|file| file.is_file());
    if files.is_empty() {
        return Err("no file to watch".into());
    }
    let (watcher, deliveries) = start(dir, &files)?;
    let mut watcher = Some(watcher);
    ctrlc::set_handler(move || drop(watcher.take()))?;
    let (count, path) = (files.len(), path.display());
    println!("watching {path} until Ctrl-C (files: {count}; later ones are left out)");
    // Until the watcher is dropped.
    deliveries.iter().for_each(drop);
    Ok(())
}

fn main() -> ExitCode {
    // `on_panic` prints one line instead.
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    let (outcome, status) = match args.as_slice() {
        [] => (demonstrate(), 1),
        [path] => {
            let at = |why| format!("cannot watch \"{}\": {why}", path.display()).into();
            (watch(path).map_err(at), 2)
        }
        _ => (Err("usage: hot_reload [FILE | DIRECTORY]".into()), 2),
    };
    let Err(why) = outcome else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{why}");
    ExitCode::from(status)
}

fn name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
