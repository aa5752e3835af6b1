//! Compresses the dictionaries of the tokenizers, so that a program that links this crate is not tens of megabytes larger for them.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "tokenizers")]
    dictionaries::write()?;
    Ok(())
}

#[cfg(feature = "tokenizers")]
mod dictionaries {
    use bpe_openai::Tokenizer;
    use bpe_openai::byte_pair_encoding::BytePairEncoding;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::error::Error;
    use std::fs::File;
    use std::path::{Path, PathBuf};

    pub fn write() -> Result<(), Box<dyn Error>> {
        let folder = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
        let dictionary = |tokenizer: &'static Tokenizer| &tokenizer.bpe;
        compress(dictionary(bpe_openai::o200k_base()), &folder.join("o200k_base.gz"))?;
        compress(dictionary(bpe_openai::cl100k_base()), &folder.join("cl100k_base.gz"))
    }

    fn compress(dictionary: &BytePairEncoding, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut encoder = GzEncoder::new(File::create(path)?, Compression::best());
        rmp_serde::encode::write(&mut encoder, dictionary)?;
        encoder.finish()?;
        Ok(())
    }
}
