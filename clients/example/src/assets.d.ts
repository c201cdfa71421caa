// What Metro makes of a sound that is imported.

declare module "*.mp3" {
  const asset: number;
  export default asset;
}
