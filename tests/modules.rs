//! The order of the modules: what imports what, without circles, and nothing through the root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

/// The modules that each module imports from, by their paths. The root is the empty path.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn source_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("it can be listed").path();
        match path.extension() {
            _ if path.is_dir() => source_files(&path, found),
            Some(extension) if extension == "rs" => found.push(path),
            _ => {}
        }
    }
}

fn module_of(file: &Path) -> String {
    let parts: Vec<_> = file.with_extension("").iter().map(ToOwned::to_owned).collect();
    let parts = parts.iter().map(|part| part.to_str().expect("it is ASCII"));
    let named: Vec<_> = parts.filter(|part| !["lib", "mod"].contains(part)).collect();
    named.join("::")
}

/// The paths that a tree of imports stands for.
fn leaves(tree: &str) -> Vec<String> {
    let Some((before, inside)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inside = inside.trim_end().strip_suffix('}').expect("it is closed");
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items.last_mut().expect("there is one").push(c);
    }
    let items = items.iter().filter(|item| !item.trim().is_empty());
    items
        .flat_map(|item| leaves(&format!("{}{}", before.trim(), item.trim())))
        .collect()
}

/// Returns the absolute path of an import, without `crate`; `None` if it is of another crate, or of
/// a module inside of the file.
fn absolute(path: &str, module: &str, is_nested: bool) -> Option<String> {
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    if let Some(path) = path.strip_prefix("crate::") {
        return Some(path.to_owned());
    }
    let relative = |base: &str, path: &str| format!("{base}::{path}").trim_matches(':').to_owned();
    let from_parent = path.strip_prefix("super::").filter(|_| !is_nested);
    let from_self = path.strip_prefix("self::").filter(|_| !is_nested);
    let from_parent = from_parent.map(|path| relative(parent, path));
    from_parent.or_else(|| from_self.map(|path| relative(module, path)))
}

fn imports() -> Imports {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let module = |file: &PathBuf| module_of(file.strip_prefix(&root).expect("it is inside"));
    let modules: BTreeSet<String> = files.iter().map(module).collect();
    let defining = |path: &str| {
        let shorter = |path: &str| Some(path.rsplit_once("::")?.0.len());
        let lengths = iter::successors(Some(path.len()), |length| shorter(&path[..*length]));
        let mut prefixes = lengths.map(|length| &path[..length]);
        let module = prefixes.find(|prefix| modules.contains(*prefix));
        module.unwrap_or_default().to_owned()
    };
    let imports_of = |file: &PathBuf| {
        let (this, text) = (
            module(file),
            fs::read_to_string(file).expect("it is readable"),
        );
        let text = text.split("#[cfg(test)]").next().expect("the first part");
        let text = text.split("#[cfg(all(test").next().expect("the first part");
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let text: String = lines.flat_map(|line| [line, "\n"]).collect();
        let mut found = BTreeSet::new();
        for (at, _) in text.match_indices("use ") {
            let line = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..at];
            if !["", "pub", "pub(crate)", "pub(super)"].contains(&line.trim()) {
                continue;
            }
            let tree = text[at + 4..].split(';').next().expect("it ends");
            let absolute = |path: String| absolute(&path, &this, line.starts_with(' '));
            found.extend(leaves(tree).into_iter().filter_map(absolute));
        }
        let found = found.iter().map(|path| defining(path)).filter(|module| *module != this);
        (this.clone(), found.collect())
    };
    files.iter().map(imports_of).collect()
}

/// Removes what imports nothing that is left, again and again: what remains is in a circle, or
/// above one.
fn circles(mut imports: Imports) -> Imports {
    loop {
        let free: BTreeSet<String> = imports
            .iter()
            .filter(|(_, imported)| imported.iter().all(|module| !imports.contains_key(module)))
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            return imports;
        }
        imports.retain(|module, _| !free.contains(module));
    }
}

#[test]
fn no_module_imports_itself_through_others() {
    let mut imports = imports();
    assert!(
        imports.len() > 40,
        "the sources were not found: {imports:?}"
    );
    imports.remove("");
    let circles = circles(imports);
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn no_folder_imports_itself_through_others() {
    let room = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut rooms = Imports::new();
    for (module, imported) in imports().into_iter().filter(|(module, _)| !module.is_empty()) {
        let others =
            imported.iter().map(|other| room(other)).filter(|other| *other != room(&module));
        rooms.entry(room(&module)).or_default().extend(others);
    }
    assert!(rooms.len() > 8, "{rooms:?}");
    let circles = circles(rooms);
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn nothing_is_imported_through_the_root() {
    let imports = imports();
    let through_root = imports.iter().filter(|(_, imported)| imported.contains(""));
    let through_root: Vec<_> = through_root.map(|(module, _)| module).collect();
    assert!(through_root.is_empty(), "{through_root:?}");
}

#[test]
fn a_circle_is_found() {
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let imports = [
        ("a", of(&["b"])),
        ("b", of(&["c"])),
        ("c", of(&["b"])),
        ("d", of(&[])),
    ];
    let imports = imports.map(|(module, imported)| (module.to_owned(), imported));
    let found = circles(imports.into_iter().collect());
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}
