export {
  AvatarView,
  type AvatarError,
  type AvatarHandle,
  type AvatarHandlers,
  type AvatarViewProps,
  type ViewError,
} from "./AvatarView.js";
export { playerAddress, type SessionRef } from "./addresses.js";
export type { LoadError } from "./loader.js";
export {
  parseMessage,
  type ClosedReason,
  type EndReason,
  type MessageFields,
  type MessageType,
  type PlayerMessage,
  type PlayerState,
} from "./messages.js";
export type { AvatarOptions } from "./options.js";
export { Problem } from "./problem.js";
export type { LoadErrorCode } from "./recovery.js";
export {
  createSession,
  deleteSession,
  interrupt,
  sendAudio,
  type Avatar,
  type Caption,
  type Interruption,
  type OnBusy,
  type RequestOptions,
  type SendOptions,
  type Session,
  type SessionSettings,
  type SoundFile,
  type SpeechSettings,
  type Spoken,
} from "./session-api.js";
