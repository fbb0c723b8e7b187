//! Between an application's values and a transaction's bytes.

use bytes::Bytes;
#[cfg(any(feature = "json", feature = "postcard"))]
use thiserror::Error;

use crate::error::CallbackError;

/// Turns values into a transaction's data, and back.
pub trait Serializer<T>: Send + Sync {
    /// The value as bytes.
    ///
    /// # Errors
    /// When it has no such form.
    fn serialize(&self, value: &T) -> Result<Bytes, CallbackError>;

    /// The value that bytes stand for.
    ///
    /// # Errors
    /// When they stand for none.
    fn deserialize(&self, bytes: &Bytes) -> Result<T, CallbackError>;
}

/// Takes bytes as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawBytes;

impl Serializer<Bytes> for RawBytes {
    fn serialize(&self, value: &Bytes) -> Result<Bytes, CallbackError> {
        Ok(value.clone())
    }

    fn deserialize(&self, bytes: &Bytes) -> Result<Bytes, CallbackError> {
        Ok(bytes.clone())
    }
}

/// Text as UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Utf8;

impl Serializer<String> for Utf8 {
    fn serialize(&self, value: &String) -> Result<Bytes, CallbackError> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn deserialize(&self, bytes: &Bytes) -> Result<String, CallbackError> {
        Ok(std::str::from_utf8(bytes)?.to_owned())
    }
}

/// Values as JSON.
///
/// ```
/// use waltz_client::{Json, Serializer};
/// let bytes = Json.serialize(&vec![1, 2])?;
/// assert_eq!(bytes, "[1,2]");
/// let values: Vec<u32> = Json.deserialize(&bytes)?;
/// # assert_eq!(values, [1, 2]);
/// # Ok::<(), waltz_client::CallbackError>(())
/// ```
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json;

#[cfg(feature = "json")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Serializer<T> for Json {
    fn serialize(&self, value: &T) -> Result<Bytes, CallbackError> {
        let bytes = serde_json::to_vec(value).map_err(|error| FormatError::write("JSON", error))?;
        Ok(bytes.into())
    }

    fn deserialize(&self, bytes: &Bytes) -> Result<T, CallbackError> {
        Ok(serde_json::from_slice(bytes).map_err(|error| FormatError::read("JSON", error))?)
    }
}

/// Values in [postcard](https://docs.rs/postcard)'s format: small, and read only by what knows the
/// type.
///
/// ```
/// use waltz_client::{Postcard, Serializer};
/// let bytes = Postcard.serialize(&(7_u32, "seven".to_owned()))?;
/// assert_eq!(bytes.len(), 7);
/// let value: (u32, String) = Postcard.deserialize(&bytes)?;
/// # assert_eq!(value, (7, "seven".to_owned()));
/// # Ok::<(), waltz_client::CallbackError>(())
/// ```
#[cfg(feature = "postcard")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Postcard;

#[cfg(feature = "postcard")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Serializer<T> for Postcard {
    fn serialize(&self, value: &T) -> Result<Bytes, CallbackError> {
        let bytes =
            postcard::to_stdvec(value).map_err(|error| FormatError::write("postcard", error))?;
        Ok(bytes.into())
    }

    fn deserialize(&self, bytes: &Bytes) -> Result<T, CallbackError> {
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => {
                let error = format!("{} bytes follow the value", rest.len());
                Err(FormatError::read("postcard", error).into())
            }
            Err(error) => Err(FormatError::read("postcard", error).into()),
        }
    }
}

/// Why [`Json`] or [`Postcard`] could not do it.
#[cfg(any(feature = "json", feature = "postcard"))]
#[derive(Debug, Error)]
pub enum FormatError {
    /// The value has no such form.
    #[error("the value can't be written as {format}: {error}")]
    Write {
        /// The format.
        format: &'static str,
        /// What it says.
        error: CallbackError,
    },
    /// The bytes stand for no such value.
    #[error("the data is not the value that is expected in {format}: {error}")]
    Read {
        /// The format.
        format: &'static str,
        /// What it says.
        error: CallbackError,
    },
}

#[cfg(any(feature = "json", feature = "postcard"))]
impl FormatError {
    fn write(format: &'static str, error: impl Into<CallbackError>) -> Self {
        Self::Write { format, error: error.into() }
    }

    fn read(format: &'static str, error: impl Into<CallbackError>) -> Self {
        Self::Read { format, error: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_bad_bytes_are_an_error() {
        let text = "grüße".to_owned();
        let bytes = Utf8.serialize(&text).expect("serializes");
        assert_eq!(Utf8.deserialize(&bytes).expect("deserializes"), text);
        assert!(Utf8.deserialize(&Bytes::from_static(&[0xff])).is_err());
        assert_eq!(RawBytes.deserialize(&bytes).expect("any bytes"), bytes);
    }

    #[cfg(all(feature = "json", feature = "postcard"))]
    #[test]
    fn values_that_do_not_fit_are_typed_errors() {
        use std::collections::BTreeMap;

        let is_read =
            |error: CallbackError| matches!(error.downcast_ref(), Some(FormatError::Read { .. }));
        let text = Bytes::from_static(b"{\"amount\": 7");
        assert!(is_read(Serializer::<u32>::deserialize(&Json, &text).expect_err("cut short")));
        let two = Postcard.serialize(&(1_u8, 2_u8)).expect("serializes");
        assert!(is_read(Serializer::<u8>::deserialize(&Postcard, &two).expect_err("one too many")));
        let none = Bytes::new();
        assert!(is_read(Serializer::<u32>::deserialize(&Postcard, &none).expect_err("nothing")));
        let keys = BTreeMap::from([((1_u8, 2_u8), 3_u8)]);
        let error = Json.serialize(&keys).expect_err("keys of JSON are text");
        assert!(matches!(error.downcast_ref(), Some(FormatError::Write { .. })));
        assert_eq!(
            Postcard.deserialize(&Postcard.serialize(&keys).expect("fits")).ok(),
            Some(keys)
        );
    }
}
