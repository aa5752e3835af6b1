//! Images in messages.

use std::fmt;
use std::str::FromStr;

/// An image: its data, as a client has sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The format.
    pub kind: ImageKind,
    /// The file, in standard base64.
    pub base64: String,
    /// How closely the model should look (`low`, `high`, `auto`), where the backend knows such a thing.
    pub detail: Option<String>,
}

/// The format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// `image/png`
    Png,
    /// `image/jpeg`
    Jpeg,
    /// `image/gif`
    Gif,
    /// `image/webp`
    Webp,
}

/// Why an image is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The image is to be fetched from somewhere.
    #[error("remote image: expected the image itself as data:image/png;base64,…, got a URL")]
    Remote,
    /// The data URL is not of the expected form.
    #[error("invalid image: expected data:image/png;base64,… with standard base64")]
    Invalid,
    /// The format is not one that models read.
    #[error("unknown image type: expected image/png, image/jpeg, image/gif or image/webp, got {0:?}")]
    Kind(String),
    /// The data is not of the format that it claims to be.
    #[error("invalid image: the data is not {0}")]
    Data(ImageKind),
    /// The image is larger than a backend takes.
    #[error("image too large: expected at most {limit} bytes, got {bytes}")]
    TooLarge {
        /// The size, in bytes.
        bytes: usize,
        /// The most allowed, in bytes.
        limit: usize,
    },
}

impl ImageKind {
    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// How the base64 of such a file begins. (GIF: "GIF8"; WebP: "RIFF".)
    const fn beginning(self) -> &'static str {
        match self {
            Self::Png => "iVBORw0KGgo",
            Self::Jpeg => "/9j/",
            Self::Gif => "R0lGOD",
            Self::Webp => "UklGR",
        }
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.media_type())
    }
}

impl FromStr for ImageKind {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "image/png" => Ok(Self::Png),
            "image/jpeg" | "image/jpg" => Ok(Self::Jpeg),
            "image/gif" => Ok(Self::Gif),
            "image/webp" => Ok(Self::Webp),
            other => Err(ImageError::Kind(other.chars().take(40).collect())),
        }
    }
}

impl Image {
    /// The largest image, in bytes of its file: what Anthropic takes, the least of the large backends.
    pub const BYTES_MAX: usize = 10 * 1024 * 1024;

    /// An image by its format and its data.
    ///
    /// # Errors
    /// [`ImageError`] if the data is no standard base64, not of this format, or too large.
    pub fn new(kind: ImageKind, base64: String) -> Result<Self, ImageError> {
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let digits = base64.trim_end_matches('=');
        if digits.is_empty() || !base64.len().is_multiple_of(4) || base64.len() - digits.len() > 2 {
            return Err(ImageError::Invalid);
        }
        if !digits.bytes().all(is_digit) {
            return Err(ImageError::Invalid);
        }
        let bytes = digits.len() / 4 * 3 + digits.len() % 4 * 3 / 4;
        if bytes > Self::BYTES_MAX {
            return Err(ImageError::TooLarge { bytes, limit: Self::BYTES_MAX });
        }
        if !digits.starts_with(kind.beginning()) {
            return Err(ImageError::Data(kind));
        }
        Ok(Self { kind, base64, detail: None })
    }

    /// An image by its data URL (RFC 2397).
    ///
    /// # Errors
    /// As [`Self::new`]; [`ImageError::Remote`] for any other URL.
    pub fn from_data_url(url: &str) -> Result<Self, ImageError> {
        let is_data = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
        let rest = url.get(5..).filter(|_| is_data).ok_or(ImageError::Remote)?;
        let (kind, data) = rest.split_once(',').ok_or(ImageError::Invalid)?;
        let mut parameters = kind.split(';');
        let kind: ImageKind = parameters.next().unwrap_or_default().parse()?;
        if parameters.next_back().is_none_or(|last| !last.trim().eq_ignore_ascii_case("base64")) {
            return Err(ImageError::Invalid);
        }
        Self::new(kind, data.to_owned())
    }

    /// The image as a data URL.
    #[must_use]
    pub fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.kind, self.base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

    #[test]
    fn a_data_url_is_read_and_written() {
        let url = format!("data:image/png;base64,{PNG}");
        assert_eq!(Image::from_data_url(&url).unwrap().data_url(), url);
        let odd = format!("DATA:image/PNG;name=x;BASE64,{PNG}");
        assert_eq!(Image::from_data_url(&odd).unwrap().kind, ImageKind::Png);
    }

    #[test]
    fn what_is_no_image_is_named() {
        let refused = |url: &str| Image::from_data_url(url).unwrap_err();
        assert_eq!(refused("https://example.com/a.png"), ImageError::Remote);
        assert_eq!(refused("file:///etc/passwd"), ImageError::Remote);
        assert_eq!(refused(""), ImageError::Remote);
        assert_eq!(refused("data:image/svg+xml;base64,AAAA"), ImageError::Kind("image/svg+xml".into()));
        for invalid in
            ["data:image/png", "data:image/png,abc", "data:image/png;base64,", "data:image/png;base64,a b="]
        {
            assert_eq!(refused(invalid), ImageError::Invalid, "{invalid}");
        }
        assert_eq!(refused("data:image/jpeg;base64,AAAA"), ImageError::Data(ImageKind::Jpeg));
        let large = format!("data:image/jpeg;base64,/9j/{}", "A".repeat(Image::BYTES_MAX / 3 * 4));
        assert!(matches!(refused(&large), ImageError::TooLarge { .. }));
    }
}
