//! Files and folders that only their owner can read.

use std::io::Write;
use std::path::Path;
use tithe_clock::Entropy;

/// Creates a folder and its parents.
pub(crate) fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Gives a new file or folder to whoever owns the folder that it is in: root may restore the data of a service.
pub(crate) fn give_to_owner_of_folder(path: &Path) {
    #[cfg(unix)]
    if let Some(folder) = path.parent()
        && let Ok(about) =
            std::fs::metadata(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
    {
        use std::os::unix::fs::MetadataExt as _;
        let _not_ours = std::os::unix::fs::chown(path, Some(about.uid()), Some(about.gid()));
    }
}

/// Creates a folder and its parents, each for the owner of the folder that it is in.
pub(crate) fn make_folder_for_owner(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    make_folder(folder)?;
    // The outermost first: its owner is that of the next one.
    missing.into_iter().rev().for_each(give_to_owner_of_folder);
    Ok(())
}

/// Lets nobody but the owner read what this process creates.
pub(crate) fn keep_new_files_private() {
    #[cfg(unix)]
    let _before = rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Takes Tithe's files in a data directory from everybody but their owner. What else is there is left, and so is what belongs to another
/// user.
pub(crate) fn restrict(data_dir: &Path) -> std::io::Result<()> {
    let is_ours = |name: &str| {
        ["tithe.db", "database.", "token.", "licence.", "nostr.", "wallet-sim"]
            .iter()
            .any(|ours| name.starts_with(ours))
    };
    restrict_those(data_dir, &is_ours)
}

fn restrict_those(folder: &Path, is_ours: &dyn Fn(&str) -> bool) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        let Ok(about) = std::fs::symlink_metadata(&path) else { continue };
        #[cfg(unix)]
        if about.is_file() || about.is_dir() {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = about.permissions().mode() & !0o077;
            let _not_ours = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
        }
        if about.is_dir() {
            let _not_ours = restrict_those(&path, &|_| true);
        }
    }
    Ok(())
}

/// Creates a file atomically: writes and syncs a temporary file beside it, then links it into place. Fails with
/// `AlreadyExists` if the file exists.
pub(crate) fn write_new(path: &Path, text: &str, entropy: &dyn Entropy) -> std::io::Result<()> {
    let draft = path.with_extension(hex::encode(entropy.bytes::<8>()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces an existing file.
        std::fs::hard_link(&draft, path)
    });
    let removed = std::fs::remove_file(&draft);
    written?;
    removed?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
