// <musetalk-avatar> in JSX: `import type {} from "@musetalk-stream/web/react"`.

import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type { AvatarEventMap, AvatarOptions, MuseTalkAvatar } from "./element.js";

type Listeners = { [T in keyof AvatarEventMap as `on${T}`]?: (event: AvatarEventMap[T]) => void };

// `key` is React's own: choose the colour by `set`.
export interface AvatarProps
  extends DetailedHTMLProps<HTMLAttributes<MuseTalkAvatar>, MuseTalkAvatar>,
    Omit<AvatarOptions, "key">,
    Listeners {
  readonly session?: MuseTalkAvatar["session"] | undefined;
  readonly server?: string | undefined;
}

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "musetalk-avatar": AvatarProps;
    }
  }
}
