import type { ReactElement } from "react";
import { Pressable, StyleSheet, Text } from "react-native";

import { colors } from "./theme";

interface ButtonProps {
  readonly title: string;
  readonly onPress: () => void;
  readonly look?: "main" | "plain" | "danger";
  readonly disabled?: boolean;
  /** Of a switch: whether it is on. */
  readonly selected?: boolean;
}

export function Button(props: ButtonProps): ReactElement {
  const { title, onPress, look = "plain", disabled = false, selected } = props;
  return (
    <Pressable
      accessibilityRole={selected === undefined ? "button" : "switch"}
      {...(selected === undefined ? {} : { "aria-checked": selected })}
      disabled={disabled}
      onPress={onPress}
      style={({ pressed }) => [
        styles.button,
        styles[look],
        selected === true && styles.selected,
        (pressed || disabled) && styles.faded,
      ]}
    >
      <Text style={[styles.title, look !== "plain" && styles.onColor]} numberOfLines={1}>
        {title}
      </Text>
    </Pressable>
  );
}

const styles = StyleSheet.create({
  button: {
    minHeight: 48,
    paddingHorizontal: 18,
    borderRadius: 14,
    borderWidth: 1,
    alignItems: "center",
    justifyContent: "center",
  },
  main: { backgroundColor: colors.accent, borderColor: colors.accent },
  plain: { backgroundColor: colors.surface, borderColor: colors.line },
  danger: { backgroundColor: colors.danger, borderColor: colors.danger },
  selected: { borderColor: colors.accent },
  faded: { opacity: 0.5 },
  title: { color: colors.text, fontSize: 16, fontWeight: "600" },
  onColor: { color: colors.onAccent },
});
