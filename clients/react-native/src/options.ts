// How the player looks and sounds: in the query of its page, and as the command `set` afterwards.

/** What is null is as by default. */
export interface AvatarOptions {
  /** 0 to 1. */
  readonly volume?: number | null;
  readonly muted?: boolean | null;
  /** Whether captions are shown, where an utterance has some. */
  readonly captions?: boolean | null;
  /** Whether the level of the voice is shown. */
  readonly visualizer?: boolean | null;
  /** Whether the player has buttons of its own for sound and captions. */
  readonly controls?: boolean | null;
  /** `transparent` or `#rrggbb`: what is put in the place of a green screen. */
  readonly background?: string | null;
  /** `#rrggbb`: the colour of the green screen. By default what the picture's corners have. */
  readonly key?: string | null;
  readonly fit?: "auto" | "cover" | "contain" | null;
  /** The part of the picture that is shown: x, y, width and height as fractions of the picture. */
  readonly crop?: readonly [x: number, y: number, width: number, height: number] | null;
  /** `none`, or the address of a picture that is shown until the avatar is. */
  readonly poster?: string | null;
}

export type OptionName = keyof AvatarOptions;
export type OptionValue = string | number | boolean | null;

/** What the player takes for an option that is not there; null: what the avatar has. */
const DEFAULTS: { readonly [name in OptionName]-?: OptionValue } = {
  volume: 1,
  muted: false,
  captions: false,
  visualizer: false,
  controls: false,
  background: null,
  key: null,
  fit: "auto",
  crop: null,
  poster: null,
};

export const OPTION_NAMES = Object.keys(DEFAULTS) as readonly OptionName[];

/** Every option in the words of the protocol. */
export function valuesOf(options: AvatarOptions): Record<OptionName, OptionValue> {
  const values = { ...DEFAULTS };
  for (const name of OPTION_NAMES) {
    const value = options[name];
    if (value === undefined || value === null) continue;
    values[name] = typeof value === "object" ? value.join(",") : value;
  }
  return values;
}

/** The options that are not as they are by default, as the query of the player page. */
export function queryOf(options: AvatarOptions): string {
  return Object.entries(changesBetween({}, options))
    .map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`)
    .join("&");
}

/** What the command `set` has to say to a page that has `before`. */
export function changesBetween(
  before: AvatarOptions,
  after: AvatarOptions,
): Partial<Record<OptionName, OptionValue>> {
  const old = valuesOf(before);
  const changed = Object.entries(valuesOf(after)) as [OptionName, OptionValue][];
  return Object.fromEntries(changed.filter(([name, value]) => value !== old[name]));
}
