//! What a message is labelled with, as it is told and as it is shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{fault::Faults, field::Field};
use crate::domain::{Label, Labels};

/// For reports. Never a phone number, never a name.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Labels)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelsBody {
    /// ISO 3166 code of the recipient's country.
    #[schema(value_type = Option<Label>)]
    country: Field<Label>,
    /// Messaging Service SID or alphanumeric sender id.
    #[schema(value_type = Option<Label>)]
    sender: Field<Label>,
    #[schema(value_type = Option<Label>)]
    template: Field<Label>,
    /// `sms`, `whatsapp`, `rcs`…
    #[schema(value_type = Option<Label>)]
    channel: Field<Label>,
}

impl LabelsBody {
    pub(super) fn parse(self, pointer: &str, faults: &mut Faults) -> Labels {
        Labels {
            country: self.country.optional(&format!("{pointer}/country"), faults),
            sender: self.sender.optional(&format!("{pointer}/sender"), faults),
            template: self.template.optional(&format!("{pointer}/template"), faults),
            channel: self.channel.optional(&format!("{pointer}/channel"), faults),
        }
    }
}

/// The labels that were given.
#[derive(Serialize, ToSchema)]
#[schema(as = LabelsGiven)]
pub(super) struct LabelsJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Label>,
}

impl From<Labels> for LabelsJson {
    fn from(Labels { country, sender, template, channel }: Labels) -> Self {
        Self { country, sender, template, channel }
    }
}
