//! Builds the workers.

use std::env::consts::EXE_EXTENSION;
use std::env::{self};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use benches::protocol::Request;

use crate::{Failed, link};

/// A profile of cargo's, and what it is called in the table.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Profile {
    /// What people build with.
    Release,
    /// That with fat LTO.
    Lto,
}

impl Profile {
    pub(crate) const ALL: [Self; 2] = [Self::Release, Self::Lto];

    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Lto => "lto",
        }
    }
}

/// A package that has a worker.
#[derive(Clone, Copy)]
pub(crate) enum Package {
    /// The one that this program is in.
    Benches,
    /// The one with the older peer.
    RegistryIo10,
}

impl Package {
    fn directory(self) -> PathBuf {
        let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
        match self {
            Self::Benches => benches.into(),
            Self::RegistryIo10 => benches.join("registry-io-1.0"),
        }
    }
}

/// A worker in one of its placements.
pub(crate) struct Program(PathBuf);

impl Program {
    /// Runs it, to answer the request.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<Vec<T>, Failed> {
        let Self(path) = self;
        let output = Command::new(path)
            .arg(serde_json::to_string(request)?)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{}: {}", path.display(), output.status).into());
        }
        let answers = serde_json::Deserializer::from_slice(&output.stdout);
        Ok(answers.into_iter().collect::<Result<_, _>>()?)
    }
}

/// Builds a worker. Its placements, as many as the linker can make.
pub(crate) fn build(package: Package, profile: Profile) -> Result<Vec<Program>, Failed> {
    let this = env::current_exe()?;
    let target = this.ancestors().nth(2).ok_or("it is in no target directory")?;
    let target = match package {
        Package::Benches => target.into(),
        Package::RegistryIo10 => target.join("registry-io-1.0"),
    };
    let placements = target.join("placements").join(profile.name());
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["rustc", "--quiet", "--bin", "worker", "--profile"])
        .arg(profile.name())
        .arg("--manifest-path")
        .arg(package.directory().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target);
    // Elsewhere the linker is not called as it is here.
    if cfg!(target_os = "linux") {
        let mut linker = OsString::from("-Clinker=");
        linker.push(&this);
        build.arg("--").arg(linker).arg(link::asking_for(&placements));
    }
    let status = build.status()?;
    if !status.success() {
        return Err(format!("cargo: {status}").into());
    }
    let placed = (0..link::PLACEMENTS).map(|at| link::placement(&placements, at));
    let mut programs: Vec<Program> = placed.filter(|path| path.exists()).map(Program).collect();
    if programs.is_empty() {
        let plain = target.join(profile.name()).join("worker");
        programs.push(Program(plain.with_extension(EXE_EXTENSION)));
    }
    Ok(programs)
}
