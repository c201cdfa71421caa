// What is chosen for a page: by the app, by the viewer on the page itself, and by us where nobody
// is to hear it. No I/O here.

import type { MessageFields, PlayerMessage } from "./messages.js";
import {
  changesBetween,
  queryOf,
  valuesOf,
  type AvatarOptions,
  type OptionName,
  type OptionValue,
} from "./options.js";

type Sound = MessageFields["volume"];
type Changes = Partial<Record<OptionName, OptionValue>>;

const SOUND = ["volume", "muted"] as const;

/** Of one session: what the viewer chose outlives the page that they chose it on. */
export class Choices {
  private byApp: AvatarOptions = {};
  private byViewer: Partial<Sound> = {};
  private isHushed = false;
  private isPageListening = false;
  // What the page has when it has done all that it was told.
  private onPage: AvatarOptions = {};
  // What it said last of its sound, and what it was told since and will say: all else that it
  // says is the viewer's.
  private expected: { [name in (typeof SOUND)[number]]: OptionValue[] } = { volume: [], muted: [] };
  private toldApp = soundOf({});

  get isListening(): boolean {
    return this.isPageListening;
  }

  /** What the app wants from now on; where that is new, it counts more than the viewer's choice. */
  want(options: AvatarOptions, isHushed: boolean): void {
    for (const name of SOUND) {
      if (options[name] !== this.byApp[name]) delete this.byViewer[name];
    }
    this.byApp = options;
    this.isHushed = isHushed;
  }

  /** The app says these now, be they new or not. */
  insist(options: AvatarOptions): void {
    for (const name of SOUND) if (name in options) delete this.byViewer[name];
  }

  /** The query of a new page. */
  load(): string {
    this.unload();
    this.onPage = this.target;
    const { volume, muted } = soundOf(this.onPage);
    this.expected = { volume: [volume], muted: [muted] };
    this.toldApp = soundOf(this.audible);
    return queryOf(this.onPage);
  }

  unload(): void {
    this.isPageListening = false;
  }

  /** The page said something: it listens. */
  listens(): void {
    this.isPageListening = true;
  }

  /** What the page has to be told now; null if nothing. */
  changes(): Changes | null {
    if (!this.isPageListening) return null;
    const changes = changesBetween(this.onPage, this.target);
    this.onPage = this.target;
    for (const name of SOUND) {
      const value = changes[name];
      if (value !== undefined) this.expected[name].push(value);
    }
    return Object.keys(changes).length > 0 ? changes : null;
  }

  /** What the app is told of what the page said: what is chosen, and not that we hushed it. */
  heard(message: PlayerMessage<"volume">): PlayerMessage<"volume"> | null {
    for (const name of SOUND) {
      const value = message[name];
      const at = this.expected[name].indexOf(value);
      this.expected[name] = at < 0 ? [value] : this.expected[name].slice(at);
      if (at >= 0) continue;
      this.byViewer = { ...this.byViewer, [name]: value };
      this.onPage = { ...this.onPage, [name]: value };
    }
    const sound = soundOf(this.audible);
    if (SOUND.every((name) => sound[name] === this.toldApp[name])) return null;
    this.toldApp = sound;
    return { ...message, ...sound };
  }

  private get audible(): AvatarOptions {
    return { ...this.byApp, ...this.byViewer };
  }

  private get target(): AvatarOptions {
    return this.isHushed ? { ...this.audible, muted: true } : this.audible;
  }
}

function soundOf(options: AvatarOptions): Sound {
  const { volume, muted } = valuesOf(options);
  return { volume: Number(volume), muted: Boolean(muted) };
}
